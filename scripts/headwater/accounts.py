"""Accounts: what SLURM says of the jobs of a folder, in its queue and its books, and what the leases say."""

import json
import re
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from headwater import leases, slurm
from headwater.refusals import Refusal

QUEUE = ("%A", "%T", "%M", "%R", "%Z", "%k")
BOOKS = ("JobIDRaw", "State", "ElapsedRaw", "AllocTRES", "WorkDir", "Comment")
GPUS = re.compile(r"gres/gpu=(\d+)")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One job of SLURM's; of one in the queue `where` says why it waits, or on which nodes it runs."""

    number: str
    state: str
    comment: str
    seconds: float
    where: str = ""
    gpus: int = 0

    @property
    def runs(self) -> bool:
        """Whether it is on its nodes."""
        return self.state in ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "STAGE_OUT", "SIGNALING", "CONFIGURING")


def in_queue(folder: Path) -> list[Attempt] | None:
    """The jobs of a folder that wait or run; none where there is no SLURM. Refuses where it does not answer."""
    if shutil.which("squeue") is None:
        return None
    found = []
    for line in slurm.asked("squeue", "--noheader", f"--format={'|'.join(QUEUE)}").splitlines():
        number, state, lasted, where, place, comment = line.split("|", len(QUEUE) - 1)
        if _same(place, folder):
            found.append(Attempt(number=number, state=state, comment=comment, seconds=clock(lasted), where=where))
    return found


def in_books(folder: Path, *, since: float) -> list[Attempt] | None:
    """All attempts from a folder since then, in their order; none where SLURM keeps no books, or is not there."""
    if shutil.which("sacct") is None:
        return None
    from_then = datetime.fromtimestamp(since).strftime("%Y-%m-%dT%H:%M:%S")
    asked = ["--allocations", "--noheader", "--parsable2", "--duplicates", f"--starttime={from_then}"]
    try:
        lines = slurm.asked("sacct", *asked, f"--format={','.join(BOOKS)}").splitlines()
    except slurm.Silent:
        return None
    found = []
    for line in lines:
        number, state, lasted, resources, place, comment = line.split("|", len(BOOKS) - 1)
        if _same(place, folder):
            gpus = GPUS.search(resources)
            told = {"number": number, "comment": comment, "seconds": float(lasted or 0)}
            # "CANCELLED by 0"
            found.append(Attempt(state=state.partition(" ")[0], gpus=int(gpus[1]) if gpus else 0, **told))
    return found


def _same(place: str, folder: Path) -> bool:
    return bool(place) and Path(place).resolve() == folder.resolve()


def clock(lasted: str) -> float:
    """Seconds in squeue's `days-hours:minutes:seconds`, whose first parts may be absent."""
    days, _, hours = lasted.rpartition("-")
    parts = [int(part) for part in hours.split(":") if part.isdecimal()]
    return float(sum(part * 60**place for place, part in enumerate(reversed(parts))) + 86400 * int(days or 0))


def trained(progress: Path) -> dict[str, float]:
    """Seconds by run, over all SLURM jobs that trained it and ended well or saved its progress; from the leases.

    What a job that died has done counts nothing: the next one did it again.
    """
    begun: dict[tuple[str, str], float] = {}
    seconds: dict[str, float] = {}
    for event in _events(progress / leases.LOG):
        key = event["run"], event["job"]
        if event["event"] == "began":
            begun[key] = event["time"]
        elif event["event"] == "ended" and key in begun and event.get("code") in (0, 143):
            seconds[event["run"]] = seconds.get(event["run"], 0.0) + event["time"] - begun.pop(key)
    return seconds


def _events(file: Path) -> list[dict]:
    """The events in a record of leases, none where there is none."""
    try:
        return [json.loads(line) for line in file.read_text().splitlines()]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise Refusal(f"is no record of leases: {error}", file=file, remedy="move it away") from None
