"""Finds what a Snakemake on SLURM would wait for without end, and mends it, or says that it must be started again.

Standard library only. What SLURM does not answer is never guessed: then it waits as well.
"""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from headwater.cluster import slurm
from headwater.cluster.snakemake_log import SnakemakeLog
from headwater.core import processes

COMMANDS = {"sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr", "sshare", "sprio"}
"""SLURM's commands; the plugin starts most of them without a limit of time."""


NEVER = re.compile(r"PartitionTimeLimit|PartitionNodeLimit|PartitionDown|JobHeld|held|AssocMax|QOSMax|BadConstraints")
"""Reasons of SLURM for which a job stays pending until somebody does something."""


class Waiting:
    """Looks now and then at one Snakemake, at what it has started, and at the jobs of its folder."""

    def __init__(self, folder: Path, *, session: int, log: SnakemakeLog, patience: float, say: Callable[[str], None]):
        self._folder = folder
        self._session = session
        self._log = log
        self._patience = patience
        self._say = say
        self._moved = time.monotonic()
        self._preempted: set[str] = set()
        self._ending: dict[str, float] = {}
        self._said: set[str] = set()

    def look(self) -> str | None:
        """Why Snakemake must be started again; None while it need not."""
        self._end_commands_that_hang()
        try:
            queued = [job for job in slurm.queued(self._folder) if job.of_snakemake]
            preempted = _preempted(self._folder)
        except slurm.Silent as silent:
            self._moved = time.monotonic()
            self._say_once("silent", f"{silent}; nothing is done meanwhile")
            return None
        self._said.discard("silent")
        self._tell_of_ending(queued)
        self._tell_of_never(queued)
        return self._nothing_moves(queued) or self._put_back(preempted)

    def _end_commands_that_hang(self) -> None:
        """Kill what the plugin waits for without a limit; it takes that for a failed submission and tries again."""
        for process in processes.of_session(self._session):
            if process.name in COMMANDS and process.age > self._patience:
                self._say(f"{process.name} has not answered for {process.age / 60:.0f} min; ending it")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.number, signal.SIGKILL)

    def _tell_of_ending(self, queued: list[slurm.Queued]) -> None:
        """Say which jobs do not come to their end; only an administrator can help."""
        now = time.monotonic()
        ending = {job.number for job in queued if job.state == "COMPLETING"}
        self._ending = {number: self._ending.get(number, now) for number in ending}
        for number, since in self._ending.items():
            if now - since > self._patience:
                minutes = self._patience / 60
                self._say_once(number, f"job {number} has been COMPLETING for {minutes:.0f} min: is its node well?")

    def _tell_of_never(self, queued: list[slurm.Queued]) -> None:
        """Say which jobs will not start unless somebody changes them."""
        for job in queued:
            if job.state == "PENDING" and NEVER.search(job.reason):
                self._say_once(
                    f"{job.number} {job.reason}",
                    f"job {job.number} cannot start ({job.reason}): see runtime and mem_mb",
                )

    def _nothing_moves(self, queued: list[slurm.Queued]) -> str | None:
        """Snakemake has submitted jobs and is silent, but SLURM has none of them, and nothing runs beside it."""
        wrote = self._log.read_on()
        beside = any(process.name not in COMMANDS for process in processes.of_session(self._session))
        if wrote or queued or beside or not self._log.submitted:
            self._moved = time.monotonic()
        silent = time.monotonic() - self._moved
        if silent > self._patience:
            return f"Snakemake waits, but SLURM has had none of its jobs for {silent / 60:.0f} min"
        return None

    def _put_back(self, preempted: set[str]) -> str | None:
        """Put jobs back into the queue that were preempted by cancelling: the plugin waits for their return."""
        ours = preempted & self._log.submitted
        # seen twice, because one that SLURM itself puts back passes through the same state
        for number in sorted(ours & self._preempted):
            try:
                slurm.asked("scontrol", "requeue", number)
            except slurm.Silent as refused:
                return f"job {number} was preempted for good and cannot be put back ({refused})"
            self._say(f"job {number} was preempted for good; put back into the queue")
        self._preempted = ours
        return None

    def _say_once(self, key: str, line: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self._say(line)


def _preempted(folder: Path) -> set[str]:
    """Numbers of the jobs of a folder that were preempted and are no more in the queue."""
    said = slurm.asked("squeue", "--me", "-h", "-t", "PREEMPTED", "-o", "%A|%Z")
    rows = [line.split("|", 1) for line in said.splitlines()]
    return {number for number, place in rows if Path(place).resolve() == folder.resolve()}
