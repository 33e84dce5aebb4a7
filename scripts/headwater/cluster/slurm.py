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

from headwater.core.errors import UserError

PATIENCE = 900.0
"""Seconds until cancelled jobs must have ended: SLURM gives them its KillWait, and a busy node some more."""

BETWEEN_LOOKS = 2.0
"""Seconds between two looks at the queue."""

BETWEEN_TRIES = 10.0
"""Seconds between two tries to reach a SLURM that does not answer."""

ANSWER = 60.0
"""Seconds in which a command of SLURM must answer."""

OWN_JOBS = ("squeue", "--me", "-h", "-o", "%A|%T|%r|%j|%Z|")
"""The command that prints this user's jobs, one a line: what `Queued` holds, in its order."""

UNCONFIGURED = "Could not establish a configuration source"
"""What its commands say on a machine that has them, and no cluster."""

OF_SNAKEMAKE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
"""How the names of jobs end that Snakemake's plugin submits: the number of its run."""


class Silent(UserError):
    """SLURM did not answer; nothing may be concluded from that."""


@dataclass(frozen=True, kw_only=True)
class Queued:
    """A job that is pending, running or about to end."""

    number: str
    state: str
    reason: str
    """Why it does not run."""
    name: str
    folder: Path

    @property
    def of_snakemake(self) -> bool:
        """Whether Snakemake's plugin has submitted it."""
        return bool(OF_SNAKEMAKE.search(self.name))


def own_number() -> str | None:
    """The number of the SLURM job that this process is part of."""
    return os.environ.get("SLURM_JOB_ID")


def queued(folder: Path) -> list[Queued]:
    """This user's jobs in the queue that have that working folder."""
    said = asked(*OWN_JOBS)
    return [job for job in _read(said) if job.folder.resolve() == folder.resolve()]


def _read(said: str) -> list[Queued]:
    """The jobs that squeue has printed; a name may hold anything, so that a line need not be a job."""
    rows = [line.split("|", 5) for line in said.splitlines()]
    return [
        Queued(number=row[0], state=row[1], reason=row[2], name=row[3], folder=Path(row[4]))
        for row in rows
        if len(row) == 6 and row[0].isdecimal()
    ]


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
            raise UserError(
                f"jobs {', '.join(left)} were cancelled and have not ended in {patience:.0f} s",
                remedy="look at them with squeue; an administrator can set a hanging node down",
            )
        time.sleep(BETWEEN_LOOKS)


def end_former(sessions: Path, *, session: str | None) -> None:
    """End the jobs that former Snakemakes of this study have left in the queue, and note the name of our own.

    The next Snakemake does not know them and submits their work anew. What runs saves its progress and ends. The file
    `sessions` holds the names of their jobs, so that no other study of the same folder is touched; nothing happens
    where there is no SLURM. What does not end in time is left to the leases.
    """
    try:
        names = set(sessions.read_text().split())
    except FileNotFoundError:
        names = set()
    try:
        former = [job.number for job in _read(_insisted(*OWN_JOBS)) if job.name in names] if names else []
        if former:
            print(
                f"headwater: ending what a former Snakemake has left in the queue: {', '.join(former)}", file=sys.stderr
            )
            end(former)
        names = set()
    except UserError as refusal:
        print(f"headwater: {refusal}; going on", file=sys.stderr)
    except FileNotFoundError:
        return
    if session:
        sessions.parent.mkdir(parents=True, exist_ok=True)
        sessions.write_text("\n".join([*sorted(names), session]) + "\n")


def wait_for_answer() -> None:
    """Return as soon as SLURM answers."""
    _insisted("squeue", "--me", "-h")


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
    if UNCONFIGURED in said.stderr:
        raise FileNotFoundError(f"{command[0]} belongs to no cluster")
    if unknown is not None and re.search(r"[Ii]nvalid job id|already completing or completed", said.stderr):
        return unknown
    raise Silent(f"{command[0]} says: {said.stderr or said.stdout}", remedy="try again when SLURM is back")
