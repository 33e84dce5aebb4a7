"""Supervisor: runs Snakemake for a study on a cluster, and restarts it where it would wait for ever.

Snakemake may be killed at any time: its jobs continue meanwhile. The next Snakemake cancels those that are left, which
save their progress, and submits them again.
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
from headwater.cluster.schedulers import Scheduler
from headwater.cluster.snakemake_log import SnakemakeLog
from headwater.cluster.watchdog import Watchdog
from headwater.core.errors import UserError

BEAT = 1.0
"""Seconds between two renewals of the claim, which show that the controller is alive."""

DOUBT = 60.0
"""Seconds by which Snakemake's lock may be newer than the claim's last renewal and still belong to that controller.

The clocks of nodes and of the disk differ, and a beat may be late on a busy node.
"""

INTERRUPTED = 130
"""Exit code of what was ended by Ctrl-C."""

DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux."""


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a controller shall do; pickled for the job that does it."""

    folder: Path
    command: tuple[str, ...]
    """Snakemake with its arguments."""
    look: float
    """Seconds between two looks at the queue."""
    patience: float
    """Seconds that Snakemake may wait although the scheduler has none of its jobs."""
    restarts: int
    """How often in a row Snakemake is restarted although no job has finished since."""


class Controller:
    """The controller of the study in a folder; `job` is its own job number, none in a shell."""

    def __init__(self, orders: Orders, *, scheduler: Scheduler, job: str | None = None):
        self.orders = orders
        self._scheduler = scheduler
        self._job = job
        self._snakemake: subprocess.Popen | None = None
        self._cancelling = False

    def run(self) -> int:
        """Run the study to its end, and give the exit code of Snakemake, or 1 after restarts without progress."""
        folder = self.orders.folder
        self._begin()
        in_vain = 0
        while True:
            last = newest_product(folder)
            log = SnakemakeLog(folder, submitted=self._scheduler.SUBMITTED)
            ended = self._run_once(log)
            if isinstance(ended, int):
                controller_lock.release(folder)
                return _report_end(ended, log)
            in_vain = 1 if newest_product(folder) > last else in_vain + 1
            # a killed Snakemake leaves its lock, which would stop the next one
            unlock(folder, command=self.orders.command, scheduler=self._scheduler)
            if self._cancelling:
                controller_lock.release(folder)
                return INTERRUPTED
            if in_vain > self.orders.restarts:
                controller_lock.release(folder)
                say(f"{ended}; started again {self.orders.restarts} times and no job has finished since: giving up")
                return 1
            say(f"{ended}; starting it again")

    def stop(self) -> None:
        """Kill Snakemake at once and let its jobs continue; may be called by a signal handler at any moment."""
        if self._snakemake is None:
            return
        # not by Popen, whose lock may be held by the code that the signal has interrupted
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._snakemake.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self._snakemake.pid, os.WEXITED | os.WNOWAIT)

    def ask_to_cancel(self) -> None:
        """Ask Snakemake to cancel its jobs and to end."""
        self._cancelling = True
        if self._snakemake is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._snakemake.pid, signal.SIGINT)

    def _begin(self) -> None:
        """Claim the folder, and remove the stale Snakemake lock of a controller that has died."""
        folder = self.orders.folder
        # looked at before the claim, whose renewal would make any lock look older than it
        stale = has_stale_lock(folder)
        claim = controller_lock.of_this_process(job=self._job, command=list(self.orders.command))
        controller_lock.take(folder, claim, scheduler=self._scheduler)
        if stale:
            unlock(folder, command=self.orders.command, scheduler=self._scheduler)

    def _run_once(self, log: SnakemakeLog) -> int | str:
        """Run Snakemake: its exit code, or why it must be restarted."""
        folder = self.orders.folder
        self._snakemake = _started(self.orders, scheduler=self._scheduler)
        watchdog = Watchdog(
            folder,
            scheduler=self._scheduler,
            session=self._snakemake.pid,
            log=log,
            patience=self.orders.patience,
            say=say,
        )
        next_look = time.monotonic() + self.orders.look
        while (code := self._snakemake.poll()) is None:
            controller_lock.renew(folder)
            if time.monotonic() > next_look:
                if reason := watchdog.look():
                    self.stop()
                    self._snakemake.wait()
                    return reason
                next_look = time.monotonic() + self.orders.look
            time.sleep(BEAT)
        return code if code >= 0 else f"Snakemake was ended by {signal.Signals(-code).name}"


def has_stale_lock(folder: Path) -> bool:
    """Whether the Snakemake of a former controller has left its lock on the folder.

    Refuses a lock that is newer than the last renewal of any controller: a Snakemake started by hand may hold it.
    """
    locks = [lock.stat().st_mtime for lock in (folder / ".snakemake" / "locks").glob("*.lock")]
    last = controller_lock.last_sign(folder)
    if locks and (last is None or max(locks) > last + DOUBT):
        raise UserError(
            "this folder is locked by a Snakemake that `headwater submit` did not start",
            file=folder,
            remedy="wait for it; if it is gone, run snakemake --unlock",
        )
    return bool(locks)


def unlock(folder: Path, *, command: Sequence[str], scheduler: Scheduler) -> None:
    """Remove the lock of a Snakemake that has died."""
    environment = scheduler.outside_environment(os.environ)
    process = subprocess.run([*command, "--unlock"], cwd=folder, env=environment, capture_output=True)
    if process.returncode:
        last = process.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UserError(f"snakemake --unlock failed: {' '.join(last)}", file=folder)


def newest_product(folder: Path) -> float:
    """When Snakemake last recorded a finished job in a folder (seconds since 1970); 0 if it never did."""
    records = (folder / ".snakemake" / "metadata").rglob("*")
    return max((file.stat().st_mtime for file in records if file.is_file()), default=0.0)


def say(line: str) -> None:
    """Print a line of the controller between Snakemake's."""
    print(f"[{time.strftime('%F %T')}] headwater controller: {line}", flush=True)


def _report_end(code: int, log: SnakemakeLog) -> int:
    """Print the logs of failed jobs and the exit code of a Snakemake that has ended by itself; gives the code."""
    log.read_on()
    if code and log.failed:
        say("failed for good: " + ", ".join(log.failed))
    say(f"Snakemake has ended with exit code {code}")
    return code


def _started(orders: Orders, *, scheduler: Scheduler) -> subprocess.Popen:
    """Snakemake in a process session of its own, by which its children are found; it dies with this process."""
    return subprocess.Popen(
        orders.command,
        cwd=orders.folder,
        # else the jobs of the study would inherit the controller's time limit and size
        env=scheduler.outside_environment(os.environ),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )


def _die_with_parent() -> None:
    """Let the kernel kill this process with its parent: Snakemake would continue unwatched if a controller is killed.

    Runs between fork and exec, so it must not take locks.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
