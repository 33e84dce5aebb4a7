"""Accounting: what SLURM says of the jobs of a folder, in its queue and its books, and what the leases say."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from headwater.cluster import run_lock, slurm

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
    try:
        said = slurm.asked("squeue", "--me", "--noheader", f"--format={'|'.join(QUEUE)}")
    except FileNotFoundError:
        return None
    found = []
    for row in _rows(said, len(QUEUE)):
        number, state, lasted, where, place, comment = row
        if _same(place, folder):
            found.append(Attempt(number=number, state=state, comment=comment, seconds=clock(lasted), where=where))
    return found


def in_books(folder: Path, *, since: float) -> list[Attempt] | None:
    """All attempts from a folder since then, in their order; none where SLURM keeps no books, or is not there."""
    from_then = datetime.fromtimestamp(since).strftime("%Y-%m-%dT%H:%M:%S")
    asked = ["--allocations", "--noheader", "--parsable2", "--duplicates", f"--starttime={from_then}"]
    try:
        rows = _rows(slurm.asked("sacct", *asked, f"--format={','.join(BOOKS)}"), len(BOOKS))
    except (slurm.Silent, FileNotFoundError):
        return None
    found = []
    for number, state, lasted, resources, place, comment in rows:
        if _same(place, folder):
            gpus = GPUS.search(resources)
            told = {"number": number, "comment": comment, "seconds": float(lasted or 0)}
            # "CANCELLED by 0"
            found.append(Attempt(state=state.partition(" ")[0], gpus=int(gpus[1]) if gpus else 0, **told))
    return found


def _rows(said: str, columns: int) -> list[list[str]]:
    """The rows of a table; a comment comes last and may hold anything, so that a line need not be a row."""
    rows = [line.split("|", columns - 1) for line in said.splitlines()]
    return [row for row in rows if len(row) == columns and row[0].isdecimal()]


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
    for event in _events(progress / run_lock.LOG):
        key = event["run"], event["job"]
        if event["event"] == "began":
            begun[key] = event["time"]
        elif event["event"] == "ended" and key in begun and (event["code"] == 0 or event["saved"]):
            seconds[event["run"]] = seconds.get(event["run"], 0.0) + event["time"] - begun.pop(key)
    return seconds


def _events(file: Path) -> list[dict]:
    """The events in a record of leases, none where there is none; a line that a full disk has torn is left out."""
    events = []
    for line in file.read_text().splitlines() if file.exists() else []:
        with suppress(ValueError):
            events.append(json.loads(line))
    return events
