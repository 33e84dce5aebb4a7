"""Schedulers: the programs that hand out a cluster's nodes, each behind the same protocol.

A plug-in is a module that holds everything `Scheduler` lists; its file in this folder is its registration. No config
names it: inside a job it is the scheduler of that job, elsewhere the one that answers. Nothing outside this folder
calls a scheduler's commands or reads its variables.

Standard library and light modules of core only: the launcher of every training imports this.
"""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from headwater.core.errors import UserError

HERE = Path(__file__).parent

PENDING, RUNNING, COMPLETING, COMPLETED = "PENDING", "RUNNING", "COMPLETING", "COMPLETED"
"""States that the library acts on. A plug-in uses these words for them, and its scheduler's own word for any other."""

BY_SNAKEMAKE = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
"""How the names of jobs end that Snakemake's executors submit: the UUID of the Snakemake run."""


class Silent(UserError):
    """The scheduler does not answer, or answers with an error; nothing may be concluded about any job."""


class Absent(UserError):
    """There is no such scheduler on this machine."""


@dataclass(frozen=True, kw_only=True)
class Queued:
    """A job in the queue that is pending, running or about to end."""

    number: str
    state: str
    reason: str
    """Why it is pending."""
    never_starts: bool
    """Whether that reason lasts until somebody changes the job or the cluster."""
    name: str
    folder: Path
    """Its working folder."""

    @property
    def by_snakemake(self) -> bool:
        """Whether Snakemake's executor submitted it."""
        return bool(re.search(BY_SNAKEMAKE, self.name))


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One start of a job: in the queue, or ended and in the accounting."""

    number: str
    state: str
    runs: bool
    """Whether it occupies its nodes."""
    comment: str
    """The comment that Snakemake gave it: its rule and wildcards."""
    seconds: float
    """How long it has been running, or ran; 0 while it is pending."""
    where: str = ""
    """In the queue only: the nodes on which it runs, or in parentheses why it is pending."""
    gpus: int = 0
    """In the accounting only: the GPUs that it had."""


class Work(Protocol):
    """What a controller job does; it can be pickled."""

    def __call__(self) -> None:
        """Do it to the end; exit with its code where that is not 0."""

    def before_requeue(self) -> Self:
        """Stop at once because the job's time is nearly over, and give what the requeued job shall do."""


class Scheduler(Protocol):
    """What the library needs of a scheduler. Job numbers are text of decimal digits, unique on the cluster.

    Every function that asks the scheduler raises `Silent` where it does not answer within a minute or answers with an
    error, and `Absent` where it is not there; neither is retried here: `waiting.answered` does that.
    """

    TITLE: str
    """Its name in messages."""

    PROFILE: str
    """The Snakemake profile whose executor submits to it, relative to the checkout."""

    COMMANDS: frozenset[str]
    """Its commands. Snakemake's executor calls them without a time limit, so the watchdog ends those that hang."""

    SUBMITTED: str
    """A regular expression for the line of Snakemake's log that reports a submitted job; group 1 is its number."""

    EXECUTOR_LOGS: str
    """The folder below `.snakemake` that Snakemake's executor makes."""

    NODE_RANK: str
    """The environment variable that tells each task of a job step which node of the step it is on, from 0."""

    def own_number(self) -> str | None:
        """The number of the job that this process is part of; none outside a job. Asks nobody."""

    def check(self) -> None:
        """Return if the scheduler answers; raise `Silent` or `Absent` otherwise."""

    def queued(self) -> list[Queued]:
        """This user's jobs in the queue, of all folders."""

    def attempts(self, folder: Path) -> list[Attempt]:
        """This user's jobs in the queue whose working folder that is, with the time that they have been running."""

    def accounting(self, folder: Path, *, since: float) -> list[Attempt] | None:
        """Every attempt from a working folder since then (seconds since 1970), oldest first; none without accounting.

        Raises nothing: where the accounting cannot be read it is taken to be missing.
        """

    def alive(self, number: str) -> bool:
        """Whether a job is pending, running or about to end; false for an unknown number."""

    def restarts(self, number: str) -> int:
        """How often a job has been requeued; 0 for an unknown number."""

    def description(self, number: str) -> str:
        """State, running time, and nodes or reason of a job, in a few words for people."""

    def preempted(self, folder: Path) -> set[str]:
        """The jobs of a working folder that were preempted and are no longer in the queue."""

    def cancel(self, number: str) -> None:
        """Ask for the end of a job, without waiting for it; does nothing for one that has ended."""

    def requeue(self, number: str) -> None:
        """Put a preempted job back into the queue; raises `Silent` with the reason where that is refused."""

    def nodes(self, number: str) -> list[str]:
        """The host names of a running job's nodes, in the order of NODE_RANK."""

    def can_start_steps(self) -> bool:
        """Whether job steps can be started from this process; not so in a container without the commands."""

    def step(self, command: list[str], *, nodes: int, cpus: int) -> list[str]:
        """The command of a job step: one task with `cpus` CPUs on each of `nodes` nodes of this job.

        Each task gets the signals of the scheduler; if one fails, the others are ended.
        """

    def step_environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The environment in which `step` must be started, made of this process' own."""

    def outside_environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """An environment without what describes the job that this process is part of, for submitting other jobs."""

    def submit_controller(
        self,
        work: Work,
        *,
        name: str,
        logs: Path,
        minutes: int,
        memory: float,
        notice: int,
        partition: str,
        account: str,
        resources: Mapping[str, Any],
        library: Path,
    ) -> str:
        """Submit a job of 1 CPU that does `work`, and give its number; raises `UserError` where it is rejected.

        `notice` seconds before its time of `minutes` is over, the job calls `work.before_requeue()` and is requeued
        with the result; the same job number goes on. Its output goes to `logs`/NUMBER/NUMBER_0_log.out. `memory` is in
        GB. An empty partition or account is taken from `resources`, the default resources of the Snakemake profile.
        `library` is the folder to be put on PYTHONPATH.
        """


def names() -> list[str]:
    """The plug-ins: the files of this folder, without those whose name begins with an underscore."""
    return sorted(file.stem for file in HERE.glob("*.py") if not file.stem.startswith("_"))


def every() -> list[Scheduler]:
    """All plug-ins, by name."""
    # not by core.registry: it imports pydantic, which takes longer than the rest of the launcher
    return [importlib.import_module(f"{__name__}.{name}") for name in names()]


def titles() -> str:
    """The names of all schedulers that the library knows, for a message."""
    return " or ".join(scheduler.TITLE for scheduler in every())


def profiles() -> str:
    """The Snakemake profiles that submit to them, for a message."""
    return " or ".join(scheduler.PROFILE for scheduler in every())


def of_this_job() -> Scheduler | None:
    """The scheduler of the job that this process is part of; none outside a job."""
    return next((scheduler for scheduler in every() if scheduler.own_number()), None)


def in_force() -> Scheduler:
    """The scheduler of this job or, outside a job, the first that answers.

    Raises `Silent` if none answers but one is there, else `Absent`.
    """
    if inside := of_this_job():
        return inside
    absent, silent = [], []
    for scheduler in every():
        try:
            scheduler.check()
            return scheduler
        except Silent as reason:
            silent.append(reason)
        except Absent as reason:
            absent.append(str(reason))
    if silent:
        raise silent[0]
    raise Absent(
        f"there is no {titles()} here: {', '.join(absent)}",
        remedy="use a login node of your cluster; on a single machine run `snakemake`",
    )


def used_in(folder: Path) -> Scheduler | None:
    """The scheduler to which a Snakemake in that folder has submitted jobs; none if it ran all of them itself."""
    made = (scheduler for scheduler in every() if (folder / ".snakemake" / scheduler.EXECUTOR_LOGS).is_dir())
    return next(made, None)


def jobs_of_study(folder: Path, *, scheduler: Scheduler) -> list[Queued]:
    """The jobs in the queue that Snakemake has submitted from a folder."""
    return [job for job in scheduler.queued() if job.by_snakemake and job.folder.resolve() == folder.resolve()]
