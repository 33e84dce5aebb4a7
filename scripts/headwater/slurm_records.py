"""SLURM's records: which jobs of a folder stand in its queue, and what its accounting says of those that ended."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

PATIENCE = 60
"""Seconds in which SLURM has to answer."""

WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "REQUEUE_FED")
QUEUE = ("%i", "%T", "%M", "%R", "%Z", "%k")
ACCOUNT = ("JobIDRaw", "State", "ElapsedRaw", "AllocTRES", "WorkDir", "Comment")
GPUS = re.compile(r"gres/gpu=(\d+)")


@dataclass(frozen=True, kw_only=True)
class SlurmJob:
    """A job as SLURM knows it; of a queued one `reason` says why it waits, of a running one where it runs."""

    number: str
    state: str
    comment: str
    seconds: float
    reason: str = ""
    gpus: int = 0

    @property
    def waits(self) -> bool:
        """Whether it has not begun, or not begun again."""
        return self.state in WAITING


def is_here() -> bool:
    """Whether this machine can ask a SLURM."""
    return shutil.which("squeue") is not None


def queued(folder: Path) -> list[SlurmJob] | None:
    """The jobs in the queue that were submitted from the folder; none where SLURM does not answer."""
    lines = _answer(["squeue", "--noheader", f"--format={'|'.join(QUEUE)}"])
    if lines is None:
        return None
    found = []
    for line in lines:
        number, state, lasted, reason, place, comment = line.split("|", len(QUEUE) - 1)
        if _same(place, folder):
            found.append(SlurmJob(number=number, state=state, comment=comment, seconds=_seconds(lasted), reason=reason))
    return found


def accounted(folder: Path, *, since: float) -> list[SlurmJob] | None:
    """All attempts submitted from the folder since then, in their order; none where SLURM keeps no accounts."""
    if shutil.which("sacct") is None:
        return None
    from_then = datetime.fromtimestamp(since).strftime("%Y-%m-%dT%H:%M:%S")
    asked = ["--allocations", "--noheader", "--parsable2", "--duplicates", f"--starttime={from_then}"]
    lines = _answer(["sacct", *asked, f"--format={','.join(ACCOUNT)}"])
    if lines is None:
        return None
    found = []
    for line in lines:
        number, state, lasted, resources, place, comment = line.split("|", len(ACCOUNT) - 1)
        gpus = GPUS.search(resources)
        if _same(place, folder):
            found.append(
                SlurmJob(
                    number=number,
                    # "CANCELLED by 0"
                    state=state.partition(" ")[0],
                    comment=comment,
                    seconds=float(lasted or 0),
                    gpus=int(gpus[1]) if gpus else 0,
                )
            )
    return found


def _answer(command: list[str]) -> list[str] | None:
    """The lines that a command prints; none if it fails or takes too long."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return [line for line in process.stdout.splitlines() if line.strip()] if process.returncode == 0 else None


def _same(place: str, folder: Path) -> bool:
    return bool(place) and Path(place).resolve() == folder.resolve()


def _seconds(lasted: str) -> float:
    """Seconds in squeue's `days-hours:minutes:seconds`, whose first parts may be absent."""
    days, _, clock = lasted.rpartition("-")
    parts = [int(part) for part in clock.split(":") if part.isdecimal()]
    return float(sum(part * 60**place for place, part in enumerate(reversed(parts))) + 86400 * int(days or 0))
