"""Watchdog: finds what a Snakemake on a cluster would wait for for ever; repairs it, or asks for a restart.

Nothing is guessed: while the scheduler does not answer, the watchdog waits as well.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from headwater.cluster import schedulers
from headwater.cluster.schedulers import COMPLETING, Queued, Scheduler, Silent
from headwater.cluster.snakemake_log import SnakemakeLog
from headwater.core import processes


class Watchdog:
    """Watches one run of Snakemake: its log, the processes that it has started, and the jobs of its folder.

    `session` is the number of its process session, `patience` in seconds; `say` prints a line for people.
    """

    def __init__(
        self,
        folder: Path,
        *,
        scheduler: Scheduler,
        session: int,
        log: SnakemakeLog,
        patience: float,
        say: Callable[[str], None],
    ):
        self._folder = folder
        self._scheduler = scheduler
        self._session = session
        self._log = log
        self._patience = patience
        self._say = say
        self._last_sign = time.monotonic()
        self._preempted: set[str] = set()
        self._completing: dict[str, float] = {}
        self._reported: set[str] = set()

    def look(self) -> str | None:
        """Why Snakemake must be restarted; None while it need not."""
        self._kill_hanging_commands()
        try:
            queued = schedulers.jobs_of_study(self._folder, scheduler=self._scheduler)
            preempted = self._scheduler.preempted(self._folder)
        except Silent as silent:
            # nobody knows whether jobs are running, so patience starts anew when the scheduler is back
            self._last_sign = time.monotonic()
            self._say_once("silent", f"{silent}; nothing is done meanwhile")
            return None
        self._reported.discard("silent")
        self._report_completing(queued)
        self._report_never_starting(queued)
        return self._stalled(queued) or self._requeue(preempted)

    def _kill_hanging_commands(self) -> None:
        """Kill commands for which Snakemake's executor waits without a time limit; it then tries again."""
        for process in processes.of_session(self._session):
            if process.name in self._scheduler.COMMANDS and process.age > self._patience:
                self._say(f"{process.name} has not answered for {process.age / 60:.0f} min; ending it")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.number, signal.SIGKILL)

    def _report_completing(self, queued: list[Queued]) -> None:
        """Report jobs that hang at their end; only an administrator can help."""
        now = time.monotonic()
        completing = {job.number for job in queued if job.state == COMPLETING}
        self._completing = {number: self._completing.get(number, now) for number in completing}
        for number, since in self._completing.items():
            if now - since > self._patience:
                minutes = self._patience / 60
                self._say_once(number, f"job {number} has been COMPLETING for {minutes:.0f} min: is its node well?")

    def _report_never_starting(self, queued: list[Queued]) -> None:
        """Report jobs that will not start unless somebody changes them."""
        for job in queued:
            if job.never_starts:
                self._say_once(
                    f"{job.number} {job.reason}",
                    f"job {job.number} cannot start ({job.reason}): see runtime and mem_mb",
                )

    def _stalled(self, queued: list[Queued]) -> str | None:
        """Why Snakemake must be restarted: it waits for jobs that the scheduler does not have.

        Any of these shows that something may still happen: a new line of its log, a job in the queue, a local job as a
        child process. Before its first submission it may compute its plan for as long as it likes.
        """
        wrote = self._log.read_on()
        local = any(process.name not in self._scheduler.COMMANDS for process in processes.of_session(self._session))
        if wrote or queued or local or not self._log.submitted:
            self._last_sign = time.monotonic()
        idle = time.monotonic() - self._last_sign
        if idle > self._patience:
            return f"Snakemake waits, but {self._scheduler.TITLE} has had none of its jobs for {idle / 60:.0f} min"
        return None

    def _requeue(self, preempted: set[str]) -> str | None:
        """Requeue jobs that were preempted for good, as Snakemake's executor waits for their return for ever.

        Gives why Snakemake must be restarted where the scheduler refuses.
        """
        ours = preempted & self._log.submitted
        # only if seen twice: a job that the scheduler itself requeues passes through the same state
        for number in sorted(ours & self._preempted):
            try:
                self._scheduler.requeue(number)
            except Silent as refused:
                return f"job {number} was preempted for good and cannot be put back ({refused})"
            self._say(f"job {number} was preempted for good; put back into the queue")
        self._preempted = ours
        return None

    def _say_once(self, key: str, line: str) -> None:
        """Print a line, unless one was printed for the same key: every look would repeat it."""
        if key not in self._reported:
            self._reported.add(key)
            self._say(line)
