"""Controller lock: at most one controller runs the study of a folder, and the claim of a dead one is recognised.

The claim is a file beside Snakemake's own. Its controller renews its time of modification as long as it lives.
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

from headwater.cluster import waiting
from headwater.cluster.schedulers import Scheduler
from headwater.core import processes
from headwater.core.errors import UserError
from headwater.core.locks import NoLocksError, try_lock

BETWEEN_TRIES = 0.05
"""Seconds between two tries to get the lock of the claim."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A controller: a job, or a process in a shell on some machine.

    `mark` tells that process from all others of its machine, see `processes.Process`; `command` is its Snakemake.
    """

    job: str | None
    host: str
    mark: str
    command: list[str]

    @property
    def name(self) -> str:
        """The controller in words."""
        return f"job {self.job}" if self.job else f"process {self.mark.partition('@')[0]} on {self.host}"


def of_this_process(*, job: str | None, command: list[str]) -> Claim:
    """The claim of this process; `job` is the job that it is, none in a shell."""
    mark = processes.process(os.getpid()).mark
    return Claim(job=job, host=socket.gethostname(), mark=mark, command=command)


def read(folder: Path) -> Claim | None:
    """The claim on a folder, whether its controller lives or has died; none without one."""
    try:
        return Claim(**json.loads(_file(folder).read_text()))
    except FileNotFoundError:
        return None


def last_sign(folder: Path) -> float | None:
    """When the claim was last renewed (seconds since 1970, by the clock of the disk); none without a claim."""
    try:
        return _file(folder).stat().st_mtime
    except FileNotFoundError:
        return None


def lives(claim: Claim, *, scheduler: Scheduler) -> bool:
    """Whether a controller is pending or running; a process on another machine cannot be seen and counts as alive."""
    if claim.job:
        return waiting.answered(scheduler.alive, claim.job)
    return claim.host != socket.gethostname() or processes.lives(claim.mark)


def refuse_another(folder: Path, *, scheduler: Scheduler, job: str | None = None) -> None:
    """Refuse if another controller than this job lives."""
    former = read(folder)
    # a requeued job finds its own claim
    own = former and job and former.job == job
    if former and not own and lives(former, scheduler=scheduler):
        raise UserError(
            f"{former.name} already runs the study of this folder",
            file=folder,
            remedy="see `headwater submit status`; " + _remedy(former, folder=folder),
        )


def take(folder: Path, claim: Claim, *, scheduler: Scheduler) -> None:
    """Claim a folder; refuse if another controller lives."""
    # two controllers that start at once would both see no claim and both write theirs
    with _exclusive(folder):
        refuse_another(folder, scheduler=scheduler, job=claim.job)
        temporary = _file(folder).with_suffix(f".{socket.gethostname()}.{os.getpid()}")
        temporary.write_text(json.dumps(asdict(claim)))
        temporary.replace(_file(folder))


def renew(folder: Path) -> None:
    """Show that the controller is alive."""
    # `headwater submit cancel` may have removed the claim
    with contextlib.suppress(FileNotFoundError):
        os.utime(_file(folder))


def release(folder: Path) -> None:
    """Remove the claim."""
    _file(folder).unlink(missing_ok=True)


def _remedy(former: Claim, *, folder: Path) -> str:
    """What the user can do about another controller."""
    if former.job or former.host == socket.gethostname():
        return "`headwater submit cancel` ends it and its jobs"
    return f"if it is gone, run `rm {_file(folder)}`"


def _file(folder: Path) -> Path:
    return folder / ".snakemake" / "controller.json"


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Let no other process read and write the claim meanwhile."""
    file = _file(folder).with_suffix(".lock")
    lock = None
    # a disk without locks leaves a race of milliseconds, which is no reason to refuse the study
    with contextlib.suppress(NoLocksError):
        while (lock := try_lock(file)) is None:
            time.sleep(BETWEEN_TRIES)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()
