"""The lock of controllers: which one looks after the grid of a folder. There is one at most; a dead one is recognised.

The claim is a file beside Snakemake's own; its time says when its owner was last at work.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from headwater.cluster import slurm
from headwater.core import processes
from headwater.core.errors import UserError
from headwater.core.locks import NoLocksError, try_lock

BETWEEN_TRIES = 0.05
"""Seconds between two tries to be the only one that looks and writes."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A controller: the SLURM job that it is, or the process of a shell on some machine."""

    job: str | None
    host: str
    mark: str
    command: list[str]

    @property
    def name(self) -> str:
        """The controller in words."""
        return f"job {self.job}" if self.job else f"process {self.mark.partition('@')[0]} on {self.host}"


def of_this_process(*, job: str | None, command: list[str]) -> Claim:
    """The claim of the process that asks."""
    mark = processes.process(os.getpid()).mark
    return Claim(job=job, host=socket.gethostname(), mark=mark, command=command)


def read(folder: Path) -> Claim | None:
    """The claim on a folder, of a living or a dead controller."""
    try:
        return Claim(**json.loads(_file(folder).read_text()))
    except FileNotFoundError:
        return None


def last_sign(folder: Path) -> float | None:
    """When the owner of the claim was last at work, by the clock of the disk."""
    try:
        return _file(folder).stat().st_mtime
    except FileNotFoundError:
        return None


def lives(claim: Claim) -> bool:
    """Whether a controller is waiting or at work; one that cannot be asked after is taken to live."""
    if claim.job:
        return slurm.alive(claim.job)
    return claim.host != socket.gethostname() or processes.lives(claim.mark)


def refuse_another(folder: Path, *, job: str | None = None) -> None:
    """Refuse where a controller lives that is not this job."""
    former = read(folder)
    # a job that SLURM has put back into the queue meets its own claim
    own = former and job and former.job == job
    if former and not own and lives(former):
        raise UserError(
            f"{former.name} already runs the study of this folder",
            file=folder,
            remedy="see `headwater submit status`; " + _remedy(former, folder=folder),
        )


def take(folder: Path, claim: Claim) -> None:
    """Make a claim; refuse where another controller lives."""
    with _alone(folder):
        refuse_another(folder, job=claim.job)
        temporary = _file(folder).with_suffix(f".{socket.gethostname()}.{os.getpid()}")
        temporary.write_text(json.dumps(asdict(claim)))
        temporary.replace(_file(folder))


def renew(folder: Path) -> None:
    """Give a sign of life."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(_file(folder))


def release(folder: Path) -> None:
    """Take the claim away."""
    _file(folder).unlink(missing_ok=True)


def _remedy(former: Claim, *, folder: Path) -> str:
    """What to do about a controller that is in the way."""
    if former.job or former.host == socket.gethostname():
        return "`headwater submit cancel` ends it and its jobs"
    return f"if it is gone, run `rm {_file(folder)}`"


def _file(folder: Path) -> Path:
    return folder / ".snakemake" / "controller.json"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let nobody else look and write at the same time."""
    file = _file(folder).with_suffix(".lock")
    lock = None
    # a disk that knows no locks leaves a moment open, no more
    with contextlib.suppress(NoLocksError):
        while (lock := try_lock(file)) is None:
            time.sleep(BETWEEN_TRIES)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()
