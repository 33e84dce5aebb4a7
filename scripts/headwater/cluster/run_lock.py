"""Run lock: which SLURM job may train a run. A newcomer ends the job before it, so no run is trained twice at once.

Standard library only. Each lease is a numbered file beside the progress file, made in one piece by whoever comes first;
the highest number holds, and none is taken away, or a latecomer could make it again. `leases.jsonl` beside them is the
record for those who come later.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.cluster import slurm

LOG = "leases.jsonl"


@contextmanager
def held(progress: Path, *, job: str) -> Iterator[dict[str, Any]]:
    """Hold the lease of the run with that progress file; put the training's exit code under `code` of what is given."""
    progress.parent.mkdir(parents=True, exist_ok=True)
    number = _claimed(progress, job=job)
    note(progress, job=job, event="began", lease=number, restart=slurm.restarts(job), node=socket.gethostname())
    before = _saved_at(progress)
    outcome: dict[str, Any] = {"code": None}
    try:
        yield outcome
    finally:
        saved = _saved_at(progress) > before
        try:
            _write(_file(progress, number), {"job": job, "over": True})
            note(progress, job=job, event="ended", lease=number, code=outcome["code"], saved=saved)
        except OSError as error:
            # a full disk must not make a failure of a training that has ended well; SLURM knows that this job is over
            print(f"headwater launch: the end of the lease cannot be noted: {error}", file=sys.stderr, flush=True)


def _saved_at(progress: Path) -> float:
    """When progress was last saved; 0 if it never was."""
    try:
        return progress.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def owner(progress: Path) -> str | None:
    """The SLURM job that trains the run now; none if it has ended."""
    _, holder = _newest(progress)
    return holder["job"] if holder and not holder["over"] and slurm.alive(holder["job"]) else None


def _claimed(progress: Path, *, job: str) -> int:
    """The number of the lease that is now ours, after the end of the job that held the one before."""
    while True:
        number, holder = _newest(progress)
        # of ourselves: SLURM starts a job again only after its end
        if holder and not holder["over"] and holder["job"] != job and slurm.alive(holder["job"]):
            note(progress, job=job, event="cancels", of=holder["job"])
            print(f"headwater launch: job {holder['job']} trains this run; ending it", file=sys.stderr, flush=True)
            slurm.end([holder["job"]])
        if _made(_file(progress, number + 1), {"job": job, "over": False}):
            return number + 1


def _newest(progress: Path) -> tuple[int, dict[str, Any] | None]:
    """(number, contents) of the lease that holds; (0, None) if there never was one."""
    numbers = [int(file.suffix[1:]) for file in progress.parent.glob(f"{progress.name}.lease.*")]
    return (newest := max(numbers, default=0)), json.loads(_file(progress, newest).read_text()) if newest else None


def _file(progress: Path, number: int) -> Path:
    return progress.with_name(f"{progress.name}.lease.{number}")


def _made(file: Path, contents: dict[str, Any]) -> bool:
    """Make a whole file under a name that nobody else has taken; false if somebody has."""
    temporary = _temporary(file, contents)
    try:
        os.link(temporary, file)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _write(file: Path, contents: dict[str, Any]) -> None:
    """Replace a file of ours in one piece."""
    _temporary(file, contents).replace(file)


def _temporary(file: Path, contents: dict[str, Any]) -> Path:
    temporary = file.with_name(f".lease.{file.name}.{socket.gethostname()}.{os.getpid()}")
    temporary.write_text(json.dumps(contents))
    return temporary


def note(progress: Path, *, job: str, event: str, **more: Any) -> None:
    """Append one event to the record of leases, in one piece."""
    line = {"time": round(time.time(), 3), "run": progress.stem, "job": job, "event": event, **more}
    handle = os.open(progress.with_name(LOG), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.fstat(handle).st_size
        # after half a line, which a full disk has left
        torn = size and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, ("\n" * bool(torn) + json.dumps(line) + "\n").encode())
    finally:
        os.close(handle)
