"""Accounts: what SLURM says of the jobs that were submitted from a folder, in its queue and in its books."""

import re
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from headwater import slurm

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
