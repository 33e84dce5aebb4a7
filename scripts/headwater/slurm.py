"""What SLURM says of jobs, asked by its own commands: which are in the queue, and how to end them.

Standard library only: the launcher of every training imports it.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from headwater.refusals import Refusal

PATIENCE = 900.0
"""Seconds until cancelled jobs must have ended: SLURM gives them its KillWait, and a busy node some more."""

BETWEEN_LOOKS = 2.0
"""Seconds between two looks at the queue."""

BETWEEN_TRIES = 10.0
"""Seconds between two tries to reach a SLURM that does not answer."""

ANSWER = 60.0
"""Seconds in which a command of SLURM must answer."""

OF_SNAKEMAKE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
"""How the names of jobs end that Snakemake's plugin submits: the number of its run."""


class Silent(Refusal):
    """SLURM did not answer; nothing may be concluded from that."""


@dataclass(frozen=True, kw_only=True)
class Queued:
    """A job that is pending, running or about to end."""

    number: str
    state: str
    name: str
    folder: Path
    comment: str

    @property
    def of_snakemake(self) -> bool:
        """Whether Snakemake's plugin has submitted it."""
        return bool(OF_SNAKEMAKE.search(self.name))


def own_number() -> str | None:
    """The number of the SLURM job that this process is part of."""
    return os.environ.get("SLURM_JOB_ID")


def queued(folder: Path | None = None) -> list[Queued]:
    """This user's jobs in the queue; of one working folder, if it is given."""
    rows = [line.split("|", 4) for line in asked("squeue", "--me", "-h", "-o", "%A|%T|%j|%Z|%k").splitlines()]
    jobs = [
        Queued(number=number, state=state, name=name, folder=Path(place), comment=comment)
        for number, state, name, place, comment in rows
    ]
    return [job for job in jobs if folder is None or job.folder.resolve() == folder.resolve()]


def alive(number: str) -> bool:
    """Whether a job is pending, running or about to end; refuses to guess where SLURM does not answer."""
    return bool(_insisted("squeue", "-h", "-o", "%T", "-j", number).strip())


def restarts(number: str) -> int:
    """How often SLURM has put a job back into the queue."""
    said = _insisted("squeue", "-h", "-O", "RestartCnt", "-j", number).strip()
    return int(said) if said.isdecimal() else 0


def end(numbers: Iterable[str], *, patience: float = PATIENCE) -> None:
    """Cancel jobs, and return when they have ended."""
    left = list(numbers)
    for number in left:
        _insisted("scancel", number)
    deadline = time.monotonic() + patience
    while left := [number for number in left if alive(number)]:
        if time.monotonic() > deadline:
            raise Refusal(
                f"jobs {', '.join(left)} were cancelled and have not ended in {patience:.0f} s",
                remedy="look at them with squeue; an administrator can set a hanging node down",
            )
        time.sleep(BETWEEN_LOOKS)


def end_former(folder: Path) -> None:
    """End the jobs that a Snakemake which was killed has left in the queue of this folder.

    The next one does not know them and submits their work anew. What runs saves its progress and ends; nothing
    happens where there is no SLURM.
    """
    try:
        former = [job for job in queued(folder) if job.of_snakemake]
    except FileNotFoundError:
        return
    if former:
        numbers = ", ".join(job.number for job in former)
        print(f"headwater: ending what a former Snakemake has left in the queue: {numbers}", file=sys.stderr)
        end(job.number for job in former)


def _insisted(*command: str) -> str:
    """What a command of SLURM prints, nothing of a job that it does not know; waits for a SLURM that is away."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return asked(*command, unknown="")
        except Silent as silent:
            if time.monotonic() > deadline:
                raise
            print(f"headwater: {silent}", file=sys.stderr, flush=True)
            time.sleep(BETWEEN_TRIES)


def asked(*command: str, unknown: str | None = None) -> str:
    """What a command of SLURM prints; `unknown` where it knows no such job.

    Raises `Silent` where it does not answer, and `FileNotFoundError` where there is no SLURM.
    """
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER)
    except subprocess.TimeoutExpired:
        raise Silent(f"{command[0]} does not answer", remedy="try again when SLURM is back") from None
    if said.returncode == 0:
        return said.stdout
    if unknown is not None and re.search(r"[Ii]nvalid job id|already completing or completed", said.stderr):
        return unknown
    raise Silent(f"{command[0]} says: {said.stderr or said.stdout}", remedy="try again when SLURM is back")
