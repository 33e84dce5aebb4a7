"""Submit: run a study on a cluster by a controller job, so that no shell must stay open; show its state, and end it.

The controller is a small job that runs Snakemake and is requeued before its time is over; see `supervisor`.
"""

import os
import shlex
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Self

import yaml
from cyclopts import Parameter

from headwater.cluster import controller_lock, schedulers, waiting
from headwater.cluster.schedulers import Scheduler
from headwater.cluster.supervisor import Controller, Orders, has_stale_lock, say, unlock
from headwater.core import processes, text
from headwater.core.errors import UserError, did_you_mean, need_checkout
from headwater.study import config as study_config
from headwater.study import overrides, paths

Words = Annotated[str, Parameter(allow_leading_hyphen=True)]
"""An argument that may itself hold options."""

ROOT = Path(__file__).parents[3]
NAME = "headwater-controller"
LOGS = paths.controller_logs()

FEWEST_MINUTES = 2
"""Schedulers count a job's time in whole minutes, and the notice must leave some of it."""

NOTICE = 120
"""Seconds before the end of its time at which a controller is told to requeue itself; at most a third of its time,
because a scheduler may tell it a minute too early. Also the seconds within which a controller in a shell must end."""


def start(
    config: Path,
    *,
    profile: Path | None = None,
    minutes: int = 720,
    memory: float = 2.0,
    partition: str = "",
    account: str = "",
    look: float = 60.0,
    patience: float = 10.0,
    restarts: int = 3,
    snakemake: Words = "",
) -> None:
    """Run the study by a small job, the controller, which requeues itself until the study has ended.

    Args:
        config: Config file of the study.
        profile: Snakemake profile; it says which resources the study's jobs get. By default the
            scheduler's, such as profiles/slurm.
        minutes: Time limit of the controller in minutes; at most what its partition allows.
        memory: Memory of the controller in GB; a study of 50,000 jobs needs 1.
        partition: Partition of the controller, for example one for long jobs without GPUs; by default the profile's.
        account: Account of the controller; by default the profile's.
        look: Seconds between two checks of the queue.
        patience: Minutes that Snakemake may wait although the scheduler has none of its jobs.
        restarts: How often in a row Snakemake is restarted without any progress.
        snakemake: Further options of Snakemake, in quotes, such as "--jobs 20 --until finetune".
    """
    scheduler = _scheduler_for(config)
    named = profile or Path(scheduler.PROFILE)
    orders = _orders(config, profile=named, look=look, minutes=patience, restarts=restarts, more=snakemake)
    if minutes < FEWEST_MINUTES:
        raise UserError(f"--minutes must be >= {FEWEST_MINUTES} (got {minutes})")
    controller_lock.refuse_another(orders.folder, scheduler=scheduler)
    # refuse here what the controller would refuse in its log only
    has_stale_lock(orders.folder)
    job = scheduler.submit_controller(
        ControllerJob(orders),
        name=NAME,
        logs=LOGS,
        minutes=minutes,
        memory=memory,
        notice=min(NOTICE, 20 * minutes),
        partition=partition,
        account=account,
        resources=_default_resources(named),
        library=ROOT / "scripts",
    )
    _claim_for(job, orders, scheduler=scheduler)
    print(
        f"The controller is job {job}. It runs {minutes} min at a time and requeues itself until the study has ended."
    )
    print(f"Log:     {_log_of(job)}")
    print("Status:  headwater submit status    headwater submit logs")
    print("Cancel:  headwater submit cancel")


def _claim_for(job: str, orders: Orders, *, scheduler: Scheduler) -> None:
    """Claim the folder for a controller that may still be pending; end it if another one was quicker."""
    claim = controller_lock.of_this_process(job=job, command=list(orders.command))
    try:
        controller_lock.take(orders.folder, claim, scheduler=scheduler)
    except UserError:
        waiting.end([job], scheduler=scheduler)
        raise


def watch(
    config: Path,
    *,
    profile: Path | None = None,
    look: float = 60.0,
    patience: float = 10.0,
    restarts: int = 3,
    snakemake: Words = "",
) -> None:
    """Run the study from this shell instead of a controller job, with the same supervision; for tmux or screen.

    Args:
        config: Config file of the study.
        profile: Snakemake profile; it says which resources the study's jobs get. By default the
            scheduler's, such as profiles/slurm.
        look: Seconds between two checks of the queue.
        patience: Minutes that Snakemake may wait although the scheduler has none of its jobs.
        restarts: How often in a row Snakemake is restarted without any progress.
        snakemake: Further options of Snakemake, in quotes, such as "--jobs 20 --until finetune".
    """
    scheduler = _scheduler_for(config)
    named = profile or Path(scheduler.PROFILE)
    orders = _orders(config, profile=named, look=look, minutes=patience, restarts=restarts, more=snakemake)
    controller = Controller(orders, scheduler=scheduler)
    shell = _Shell(controller)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, shell.leave)
    signal.signal(signal.SIGINT, shell.interrupted)
    sys.exit(controller.run())


def status() -> None:
    """Show which controller runs the study of this folder, and how many of its jobs are in the queue."""
    scheduler = schedulers.in_force()
    claim = controller_lock.read(Path.cwd())
    if claim is None:
        print("No controller runs the study of this folder.")
    elif not controller_lock.lives(claim, scheduler=scheduler):
        print(f"The controller, {claim.name}, has died. To continue, repeat the same headwater submit start.")
    elif claim.job:
        times = waiting.answered(scheduler.restarts, claim.job)
        state = scheduler.description(claim.job)
        print(f"The controller is job {claim.job}: {state}, requeued {text.many(times, 'time')}.")
        print(f"Log: {_log_of(claim.job)}")
    else:
        print(f"The controller is {claim.name}.")
    states = Counter(job.state for job in schedulers.jobs_of_study(Path.cwd(), scheduler=scheduler))
    print(
        "Jobs of the study: "
        + (", ".join(f"{count} {state}" for state, count in states.items()) or "none in the queue")
    )


def logs(*, lines: int = 20) -> None:
    """Show where the controller's log is, and its last lines.

    Args:
        lines: Number of lines.
    """
    logs = sorted(LOGS.glob("*/*_log.out"), key=lambda file: file.stat().st_mtime)
    if not logs:
        raise UserError("no controller has written a log here", file=LOGS, remedy="headwater submit start CONFIG")
    print(f"{logs[-1]}:")
    for line in logs[-1].read_text(errors="replace").splitlines()[-lines:]:
        print(line)


def cancel() -> None:
    """End the controller of this folder and all jobs of its study; saved progress is kept."""
    scheduler = schedulers.in_force()
    folder = Path.cwd()
    claim = controller_lock.read(folder)
    ended = "No controller was running"
    # first the controller, which would submit ended jobs again
    if claim and controller_lock.lives(claim, scheduler=scheduler):
        _end_controller(claim, scheduler=scheduler)
        ended = f"Ended {claim.name}"
    jobs = [job.number for job in schedulers.jobs_of_study(folder, scheduler=scheduler)]
    waiting.end(jobs, scheduler=scheduler)
    if claim:
        if has_stale_lock(folder):
            unlock(folder, command=claim.command, scheduler=scheduler)
        controller_lock.release(folder)
    cancelled = f"{ended}; cancelled {text.many(len(jobs), 'job')} of the study."
    print(f"{cancelled} To continue from the saved progress, start it again.")


class ControllerJob:
    """The controller as work of a job, see `schedulers.Work`."""

    def __init__(self, orders: Orders):
        self._orders = orders
        self._controller: Controller | None = None

    def __call__(self) -> None:
        """Run the study; the job exits as Snakemake does."""
        scheduler = schedulers.in_force()
        self._controller = Controller(self._orders, scheduler=scheduler, job=scheduler.own_number())
        # set here, in the running job: what starts a job (submitit) may have a handler that ignores this signal
        signal.signal(signal.SIGTERM, self._on_end_of_job)
        try:
            code = self._controller.run()
        except UserError as refusal:
            say(str(refusal))
            code = 2
        if code:
            sys.exit(code)

    def before_requeue(self) -> Self:
        """Stop Snakemake because the job's time is nearly over; the requeued job goes on with the same orders."""
        # the requeue that follows ends this job by the same signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self._controller:
            self._controller.stop()
        say("time is nearly over: Snakemake is stopped, its jobs go on, and this job goes back into the queue")
        # the job is requeued by a single request, which must not meet a scheduler that is silent
        waiting.answered(schedulers.in_force().check)
        return ControllerJob(self._orders)

    def _on_end_of_job(self, number: int, frame: FrameType | None) -> None:
        """Stop Snakemake, and wait to be killed: a preempted job that exits by itself is not requeued."""
        self._controller.stop()
        say(f"{schedulers.in_force().TITLE} ends this job: Snakemake is stopped, its jobs go on")
        while True:
            signal.pause()


class _Shell:
    """The signal handlers of a controller that runs in a shell."""

    def __init__(self, controller: Controller):
        self._controller = controller
        self._asked = False

    def leave(self, number: int, frame: FrameType | None) -> None:
        """Stop Snakemake at once and exit; its jobs continue."""
        self._controller.stop()
        say("Snakemake is stopped, its jobs go on; `watch` or `start` takes them over, `cancel` ends them")
        sys.exit(128 + number)

    def interrupted(self, number: int, frame: FrameType | None) -> None:
        """Cancel the jobs at the first Ctrl-C, exit at once at the second."""
        if self._asked:
            self.leave(number, frame)
        self._asked = True
        say("Snakemake cancels its jobs and ends, within three minutes; once more leaves at once, and the jobs go on")
        self._controller.ask_to_cancel()


# what is checked and made before a controller starts


def _scheduler_for(config: Path) -> Scheduler:
    """The scheduler here, for a study that can be run at all: mistakes in its config are reported first."""
    study_config.read(config)
    need_checkout(ROOT / "Snakefile")
    return schedulers.in_force()


def _orders(config: Path, *, profile: Path, look: float, minutes: float, restarts: int, more: str) -> Orders:
    """The orders of a controller of this folder; `minutes` of patience."""
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--configfile", str(config)]
    command += overrides.for_snakemake()
    command += ["--profile", str(_profile(profile)), *shlex.split(more)]
    return Orders(folder=Path.cwd(), command=tuple(command), look=look, patience=60 * minutes, restarts=restarts)


def _profile(named: Path) -> Path:
    """The folder of a profile, relative to this folder or to the checkout."""
    for folder in (named, ROOT / named):
        if folder.is_dir() and list(folder.glob("config*.yaml")):
            return folder
    profiles = {f"profiles/{file.parent.name}" for file in (ROOT / "profiles").glob("*/config*.yaml")}
    raise UserError(f"there is no profile {named}", remedy=did_you_mean(str(named), profiles))


def _default_resources(profile: Path) -> dict[str, Any]:
    """The default resources of a profile, among them the site's account and partition."""
    # the file that Snakemake takes: the one with the highest version in its name
    file = max(_profile(profile).glob("config*.yaml"), key=lambda file: (".v9+" in file.name, ".v" in file.name))
    return (yaml.safe_load(file.read_text()) or {}).get("default-resources") or {}


def _log_of(job: str) -> Path:
    """The file with the output of a controller job, see `Scheduler.submit_controller`."""
    return LOGS / job / f"{job}_0_log.out"


def _end_controller(claim: controller_lock.Claim, *, scheduler: Scheduler) -> None:
    """End a controller, and return when it has ended."""
    if claim.job:
        waiting.end([claim.job], scheduler=scheduler)
        return
    if not processes.lives(claim.mark):
        raise UserError(f"{claim.name} cannot be ended from here", remedy="run this command on that machine")
    os.kill(int(claim.mark.partition("@")[0]), signal.SIGTERM)
    deadline = time.monotonic() + NOTICE
    while processes.lives(claim.mark):
        if time.monotonic() > deadline:
            raise UserError(f"{claim.name} does not end", remedy="kill it (SIGKILL)")
        time.sleep(0.2)
