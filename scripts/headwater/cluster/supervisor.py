"""Supervisor: looks after the Snakemake that runs a grid on SLURM, and starts it again where it would wait for ever.

Snakemake may be killed at any time: its jobs go on meanwhile, and the next one ends what is left of them (they save
their progress) and submits it anew.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.cluster import controller_lock
from headwater.cluster.snakemake_log import SnakemakeLog
from headwater.cluster.watchdog import Waiting
from headwater.core.errors import UserError

BEAT = 1.0
"""Seconds between two signs of life."""

DOUBT = 60.0
"""Seconds by which Snakemake's lock may be younger than the last sign of life of the controller that left it."""

OF_THIS_JOB = ("SLURM_", "SBATCH_", "SRUN_")
"""Variables that would reach the jobs of the grid, and mean the controller's."""

INTERRUPTED = 130
"""Exit code of what was ended by Ctrl-C."""

DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux."""


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a controller shall do; they travel to the job that does it."""

    folder: Path
    command: tuple[str, ...]
    """Snakemake with its arguments."""
    look: float
    """Seconds between two looks at the queue."""
    patience: float
    """Seconds that Snakemake may wait for nothing."""
    restarts: int
    """How often in a row Snakemake is started again although no job has finished since."""


class Controller:
    """One controller of the grid in a folder."""

    def __init__(self, orders: Orders, *, job: str | None = None):
        self.orders = orders
        self._job = job
        self._snakemake: subprocess.Popen | None = None
        self._cancelling = False

    def run(self) -> int:
        """Run the grid to its end, and give the exit code of Snakemake, or 1 when it was started again in vain."""
        self._begin()
        in_vain = 0
        while True:
            last = newest_product(self.orders.folder)
            log = SnakemakeLog(self.orders.folder)
            ended = self._looked_after(log)
            if isinstance(ended, int):
                controller_lock.release(self.orders.folder)
                return _told(ended, log)
            in_vain = 1 if newest_product(self.orders.folder) > last else in_vain + 1
            unlock(self.orders.folder, command=self.orders.command)
            if self._cancelling:
                controller_lock.release(self.orders.folder)
                return INTERRUPTED
            if in_vain > self.orders.restarts:
                controller_lock.release(self.orders.folder)
                say(f"{ended}; started again {self.orders.restarts} times and no job has finished since: giving up")
                return 1
            say(f"{ended}; starting it again")

    def stop(self) -> None:
        """Kill Snakemake at once and leave its jobs at work; may be called by a signal at any moment."""
        if self._snakemake is None:
            return
        # not by Popen, whose lock may be held by what the signal has interrupted
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._snakemake.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self._snakemake.pid, os.WEXITED | os.WNOWAIT)

    def ask_to_cancel(self) -> None:
        """Let Snakemake cancel its jobs and end."""
        self._cancelling = True
        if self._snakemake is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._snakemake.pid, signal.SIGINT)

    def _begin(self) -> None:
        """Claim the folder, and take away the lock of the dead controller's Snakemake."""
        folder = self.orders.folder
        locked = locked_by_the_dead(folder)
        claim = controller_lock.of_this_process(job=self._job, command=list(self.orders.command))
        controller_lock.take(folder, claim)
        if locked:
            unlock(folder, command=self.orders.command)

    def _looked_after(self, log: SnakemakeLog) -> int | str:
        """Run Snakemake once: its exit code, or why it must be started again."""
        folder, patience = self.orders.folder, self.orders.patience
        self._snakemake = _started(self.orders)
        session = self._snakemake.pid
        waiting = Waiting(folder, session=session, log=log, patience=patience, say=say)
        next_look = time.monotonic() + self.orders.look
        while (code := self._snakemake.poll()) is None:
            controller_lock.renew(folder)
            if time.monotonic() > next_look:
                if reason := waiting.look():
                    self.stop()
                    self._snakemake.wait()
                    return reason
                next_look = time.monotonic() + self.orders.look
            time.sleep(BEAT)
        return code if code >= 0 else f"Snakemake was ended by {signal.Signals(-code).name}"


def locked_by_the_dead(folder: Path) -> bool:
    """Whether a former controller's Snakemake has left its lock; refuse where it may be another's, who may live."""
    locks = [lock.stat().st_mtime for lock in (folder / ".snakemake" / "locks").glob("*.lock")]
    last = controller_lock.last_sign(folder)
    if locks and (last is None or max(locks) > last + DOUBT):
        raise UserError(
            "this folder is locked by a Snakemake that `headwater submit` did not start",
            file=folder,
            remedy="wait for it; if it is gone, run snakemake --unlock",
        )
    return bool(locks)


def unlock(folder: Path, *, command: Sequence[str]) -> None:
    """Take away the lock of a Snakemake that is dead."""
    process = subprocess.run([*command, "--unlock"], cwd=folder, env=_environment(), capture_output=True)
    if process.returncode:
        last = process.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UserError(f"snakemake --unlock failed: {' '.join(last)}", file=folder)


def newest_product(folder: Path) -> float:
    """When Snakemake last noted a finished job in a folder; 0 if it never did."""
    noted = (folder / ".snakemake" / "metadata").rglob("*")
    return max((file.stat().st_mtime for file in noted if file.is_file()), default=0.0)


def say(line: str) -> None:
    """One line of the controller among Snakemake's."""
    print(f"[{time.strftime('%F %T')}] headwater controller: {line}", flush=True)


def _told(code: int, log: SnakemakeLog) -> int:
    """The exit code of a Snakemake that has ended by itself, after the logs of what failed."""
    log.read_on()
    if code and log.failed:
        say("failed for good: " + ", ".join(log.failed))
    say(f"Snakemake has ended with exit code {code}")
    return code


def _started(orders: Orders) -> subprocess.Popen:
    """Snakemake in a session of its own, which does not outlive us."""
    return subprocess.Popen(
        orders.command,
        cwd=orders.folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_us,
    )


def _environment() -> dict[str, str]:
    """The environment without the SLURM job that the controller is itself."""
    named = os.environ.items()
    return {key: value for key, value in named if key == "SLURM_CONF" or not key.startswith(OF_THIS_JOB)}


def _die_with_us() -> None:
    """Between fork and exec: a Snakemake whose controller was killed would go on unwatched."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
