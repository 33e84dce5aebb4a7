"""Run lock: which job of a scheduler may train a run. A new job ends the one before it, so no run is trained twice.

Each lease is a numbered file beside the progress file, created in one piece by the job that comes first. The highest
number is in force. No lease is deleted: a job that had read the older number could create it again. `leases.jsonl`
beside them records when each lease began and ended. Standard library and light modules only.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from headwater.cluster import waiting
from headwater.cluster.schedulers import Scheduler

LOG = "leases.jsonl"
"""The record of leases: a line of JSON for each event."""


@contextmanager
def held(progress: Path, *, scheduler: Scheduler, job: str) -> Iterator[dict[str, Any]]:
    """Hold the lease of the run with that progress file.

    Gives a dictionary; the caller puts the training's exit code into it under `code`.
    """
    progress.parent.mkdir(parents=True, exist_ok=True)
    number = _claimed(progress, scheduler=scheduler, job=job)
    restart = waiting.answered(scheduler.restarts, job)
    note(progress, job=job, event="began", lease=number, restart=restart, node=os.uname().nodename)
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
            # a full disk must not fail a training that has ended well; the scheduler tells others that this job is over
            print(f"headwater launch: the end of the lease cannot be noted: {error}", file=sys.stderr, flush=True)


def _saved_at(progress: Path) -> float:
    """When progress was last saved (seconds since 1970); 0 if it never was."""
    try:
        return progress.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def holder(progress: Path) -> str | None:
    """The job whose lease of the run has not ended; the job itself may be dead. None if the run is free."""
    _, lease = _newest(progress)
    return lease["job"] if lease and not lease["over"] else None


def trained(progress: Path) -> dict[str, float]:
    """Seconds by run over all jobs that trained it and exited well or saved progress, by a folder's record of leases.

    A job that died without saving does not count: the next one repeated its steps.
    """
    begun: dict[tuple[str, str], float] = {}
    seconds: dict[str, float] = {}
    for event in _events(progress / LOG):
        key = event["run"], event["job"]
        if event["event"] == "began":
            begun[key] = event["time"]
        elif event["event"] == "ended" and key in begun and (event["code"] == 0 or event["saved"]):
            seconds[event["run"]] = seconds.get(event["run"], 0.0) + event["time"] - begun.pop(key)
    return seconds


def _events(file: Path) -> list[dict[str, Any]]:
    """The events in a record of leases, none without a record; a line that a full disk has torn is left out."""
    events = []
    for line in file.read_text().splitlines() if file.exists() else []:
        with suppress(ValueError):
            events.append(json.loads(line))
    return events


def _claimed(progress: Path, *, scheduler: Scheduler, job: str) -> int:
    """The number of the lease that this job now holds, after the end of the job that held the one before."""
    while True:
        number, lease = _newest(progress)
        # a lease of this job itself is from before its requeue: no scheduler runs a job twice at once
        if lease and not lease["over"] and (other := lease["job"]) != job:
            _end_holder(progress, other, scheduler=scheduler, job=job)
        # another new job may have been quicker; then its lease is the newest, and it is ended in turn
        if _made(_file(progress, number + 1), {"job": job, "over": False}):
            return number + 1


def _end_holder(progress: Path, holder: str, *, scheduler: Scheduler, job: str) -> None:
    """End the job that holds the lease, if it is alive."""
    if not waiting.answered(scheduler.alive, holder):
        return
    note(progress, job=job, event="cancels", of=holder)
    print(f"headwater launch: job {holder} trains this run; ending it", file=sys.stderr, flush=True)
    waiting.end([holder], scheduler=scheduler)


def _newest(progress: Path) -> tuple[int, dict[str, Any] | None]:
    """(number, contents) of the lease in force; (0, None) if there never was one."""
    numbers = [int(file.suffix[1:]) for file in progress.parent.glob(f"{progress.name}.lease.*")]
    return (newest := max(numbers, default=0)), json.loads(_file(progress, newest).read_text()) if newest else None


def _file(progress: Path, number: int) -> Path:
    return progress.with_name(f"{progress.name}.lease.{number}")


def _made(file: Path, contents: dict[str, Any]) -> bool:
    """Create a complete file under a name that is not taken yet; false if it is."""
    temporary = _temporary(file, contents)
    try:
        # a hard link fails if the name exists, on network disks as well; nobody ever sees half a file
        os.link(temporary, file)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _write(file: Path, contents: dict[str, Any]) -> None:
    """Replace a file in one step."""
    _temporary(file, contents).replace(file)


def _temporary(file: Path, contents: dict[str, Any]) -> Path:
    """A complete file under a name that no other process uses."""
    temporary = file.with_name(f".lease.{file.name}.{os.uname().nodename}.{os.getpid()}")
    temporary.write_text(json.dumps(contents))
    return temporary


def note(progress: Path, *, job: str, event: str, **more: Any) -> None:
    """Append an event to the record of leases, by one write, so that lines of several jobs do not mix."""
    line = {"time": round(time.time(), 3), "run": progress.stem, "job": job, "event": event, **more}
    handle = os.open(progress.with_name(LOG), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.fstat(handle).st_size
        # a full disk may have left half a line, which the next event must not continue
        torn = size and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, ("\n" * bool(torn) + json.dumps(line) + "\n").encode())
    finally:
        os.close(handle)
