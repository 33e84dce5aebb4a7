"""Submit: run a study on SLURM by a controller job, so that no shell must stay open; show its state, and end it.

The controller is a small job that puts itself back into the queue before its time is over; `supervisor` says what it
does there.
"""

import os
import shlex
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import yaml
from cyclopts import Parameter

from headwater.cluster import controller_lock, slurm
from headwater.cluster.supervisor import Controller, Orders, locked_by_the_dead, say, unlock
from headwater.core import processes, text
from headwater.core.errors import UserError, did_you_mean, need_checkout
from headwater.study import config as study_config
from headwater.study import paths

Words = Annotated[str, Parameter(allow_leading_hyphen=True)]
"""An argument that may itself hold options."""

ROOT = Path(__file__).parents[3]
PROFILE = Path("profiles") / "slurm"
NAME = "headwater-controller"
LOGS = paths.controller_logs()

FEWEST_MINUTES = 2
"""SLURM counts a job's time in whole minutes."""

NOTICE = 120
"""Seconds before its end in which a controller must be back in the queue; at most a third of its time, because SLURM
may give notice a minute too early."""

ALWAYS = 1_000_000
"""How often a controller may be put back."""


def start(
    config: Path,
    *,
    profile: Path = PROFILE,
    minutes: int = 720,
    memory: float = 2.0,
    partition: str = "",
    account: str = "",
    look: float = 60.0,
    patience: float = 10.0,
    restarts: int = 3,
    snakemake: Words = "",
) -> None:
    """Run the study by a small SLURM job, the controller, which requeues itself until the study has ended.

    Args:
        config: Config file of the study.
        profile: Snakemake profile; it says which resources the study's jobs get.
        minutes: Time limit of the controller in minutes; at most what its partition allows.
        memory: Memory of the controller in GB; a study of 50,000 jobs needs 1.
        partition: Partition of the controller, for example one for long jobs without GPUs; by default the profile's.
        account: SLURM account of the controller; by default the profile's.
        look: Seconds between two checks of the queue.
        patience: Minutes that Snakemake may wait although SLURM has none of its jobs.
        restarts: How often in a row Snakemake is restarted without any progress.
        snakemake: Further options of Snakemake, in quotes, such as "--jobs 20 --until finetune".
    """
    orders = _orders(config, profile=profile, look=look, patience=patience, restarts=restarts, more=snakemake)
    if minutes < FEWEST_MINUTES:
        raise UserError(f"--minutes must be >= {FEWEST_MINUTES} (got {minutes})")
    controller_lock.refuse_another(orders.folder)
    locked_by_the_dead(orders.folder)
    site = _of_site(profile)
    executor = _executor(
        timeout_min=minutes,
        mem_gb=memory,
        slurm_partition=partition or site.get("slurm_partition"),
        slurm_account=account or site.get("slurm_account"),
        slurm_signal_delay_s=min(NOTICE, 20 * minutes),
    )
    job = _submitted(executor, orders)
    try:
        controller_lock.take(orders.folder, controller_lock.of_this_process(job=job, command=list(orders.command)))
    except UserError:
        slurm.end([job])
        raise
    print(
        f"The controller is job {job}. It runs {minutes} min at a time and requeues itself until the study has ended."
    )
    print(f"Log:     {_log_of(job)}")
    print("Status:  headwater submit status    headwater submit logs")
    print("Cancel:  headwater submit cancel")


def watch(
    config: Path,
    *,
    profile: Path = PROFILE,
    look: float = 60.0,
    patience: float = 10.0,
    restarts: int = 3,
    snakemake: Words = "",
) -> None:
    """Run the study from this shell instead of a controller job, with the same supervision; for tmux or screen.

    Args:
        config: Config file of the study.
        profile: Snakemake profile; it says which resources the study's jobs get.
        look: Seconds between two checks of the queue.
        patience: Minutes that Snakemake may wait although SLURM has none of its jobs.
        restarts: How often in a row Snakemake is restarted without any progress.
        snakemake: Further options of Snakemake, in quotes, such as "--jobs 20 --until finetune".
    """
    orders = _orders(config, profile=profile, look=look, patience=patience, restarts=restarts, more=snakemake)
    controller = Controller(orders)
    shell = _Shell(controller)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, shell.leave)
    signal.signal(signal.SIGINT, shell.interrupted)
    sys.exit(controller.run())


def status() -> None:
    """Show which controller runs the study of this folder, and how many of its jobs are in the queue."""
    _need_slurm()
    claim = controller_lock.read(Path.cwd())
    if claim is None:
        print("No controller runs the study of this folder.")
    elif not controller_lock.lives(claim):
        print(f"The controller, {claim.name}, has died. To continue, repeat the same headwater submit start.")
    elif claim.job:
        state, hours, node, reason = _queue_says(claim.job)
        times = slurm.restarts(claim.job)
        print(
            f"The controller is job {claim.job}: {state} {hours} {node or reason}, requeued {text.many(times, 'time')}."
        )
        print(f"Log: {_log_of(claim.job)}")
    else:
        print(f"The controller is {claim.name}.")
    states = Counter(job.state for job in _jobs_of_grid())
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
    _need_slurm()
    folder = Path.cwd()
    claim = controller_lock.read(folder)
    ended = "No controller was running"
    if claim and controller_lock.lives(claim):
        _end_controller(claim)
        ended = f"Ended {claim.name}"
    jobs = [job.number for job in _jobs_of_grid()]
    slurm.end(jobs)
    if claim:
        if locked_by_the_dead(folder):
            unlock(folder, command=claim.command)
        controller_lock.release(folder)
    cancelled = f"{ended}; cancelled {text.many(len(jobs), 'job')} of the study."
    print(f"{cancelled} To continue from the saved progress, start it again.")


class ControllerJob:
    """The controller as submitit starts it in its job, and puts it back before the end of its time."""

    def __init__(self, orders: Orders):
        self._orders = orders
        self._controller: Controller | None = None

    def __call__(self) -> None:
        """Run the grid; the job ends as Snakemake does."""
        self._controller = Controller(self._orders, job=slurm.own_number())
        # after submitit, which only notes this signal
        signal.signal(signal.SIGTERM, self._told_to_end)
        try:
            code = self._controller.run()
        except UserError as refusal:
            say(str(refusal))
            code = 2
        if code:
            sys.exit(code)

    def checkpoint(self) -> Any:
        """What goes on after the job was put back; submitit calls it when time is nearly over."""
        from submitit.helpers import DelayedSubmission

        # the requeue that follows ends this job by the same signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self._controller:
            self._controller.stop()
        say("time is nearly over: Snakemake is stopped, its jobs go on, and this job goes back into the queue")
        # submitit asks once only
        slurm.wait_for_answer()
        return DelayedSubmission(ControllerJob(self._orders))

    def _told_to_end(self, number: int, frame: FrameType | None) -> None:
        """Stop Snakemake, and wait for SLURM: a job that leaves by itself is not put back after a preemption."""
        self._controller.stop()
        say("SLURM ends this job: Snakemake is stopped, its jobs go on")
        while True:
            signal.pause()


class _Shell:
    """What a shell's signals mean to a controller that runs in it."""

    def __init__(self, controller: Controller):
        self._controller = controller
        self._asked = False

    def leave(self, number: int, frame: FrameType | None) -> None:
        """Stop Snakemake at once; the jobs go on."""
        self._controller.stop()
        say("Snakemake is stopped, its jobs go on; `watch` or `start` takes them over, `cancel` ends them")
        sys.exit(128 + number)

    def interrupted(self, number: int, frame: FrameType | None) -> None:
        """The first time cancel the jobs, the second time leave at once."""
        if self._asked:
            self.leave(number, frame)
        self._asked = True
        say("Snakemake cancels its jobs and ends, within three minutes; once more leaves at once, and the jobs go on")
        self._controller.ask_to_cancel()


# what a controller is told


def _orders(config: Path, *, profile: Path, look: float, patience: float, restarts: int, more: str) -> Orders:
    """The orders of a controller of this folder; refuses what cannot work before anything is started."""
    study_config.read(config)
    need_checkout(ROOT / "Snakefile")
    _need_slurm()
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--configfile", str(config)]
    command += ["--profile", str(_profile(profile)), *shlex.split(more)]
    return Orders(folder=Path.cwd(), command=tuple(command), look=look, patience=60 * patience, restarts=restarts)


def _profile(named: Path) -> Path:
    """The folder of a profile, named from here or from the checkout."""
    for folder in (named, ROOT / named):
        if folder.is_dir() and list(folder.glob("config*.yaml")):
            return folder
    profiles = {f"profiles/{file.parent.name}" for file in (ROOT / "profiles").glob("*/config*.yaml")}
    raise UserError(f"there is no profile {named}", remedy=did_you_mean(str(named), profiles))


def _of_site(profile: Path) -> dict[str, Any]:
    """The default resources of a profile, which name the site's account and partition."""
    # the file that Snakemake would take
    file = max(_profile(profile).glob("config*.yaml"), key=lambda file: (".v9+" in file.name, ".v" in file.name))
    return (yaml.safe_load(file.read_text()) or {}).get("default-resources") or {}


def _executor(**parameters: Any) -> Any:
    """What submits a controller to SLURM."""
    try:
        import submitit
    except ModuleNotFoundError:
        raise UserError("the package submitit is not installed", remedy="pip install -e '.[slurm]'") from None
    executor = submitit.AutoExecutor(folder=LOGS / "%j", cluster="slurm", slurm_max_num_timeout=ALWAYS)
    executor.update_parameters(
        name=NAME,
        nodes=1,
        tasks_per_node=1,
        cpus_per_task=1,
        stderr_to_stdout=True,
        # the job finds the library where this process did
        slurm_setup=[f"export PYTHONPATH={shlex.quote(str(ROOT / 'scripts'))}${{PYTHONPATH:+:$PYTHONPATH}}"],
        slurm_additional_parameters={"requeue": True},
        **{name: value for name, value in parameters.items() if value is not None},
    )
    return executor


def _submitted(executor: Any, orders: Orders) -> str:
    """The number of the controller's job."""
    from submitit.core.utils import FailedJobError

    try:
        return executor.submit(ControllerJob(orders)).job_id
    except FailedJobError as failed:
        last = str(failed).strip().splitlines()[-1:]
        raise UserError(
            f"sbatch rejected the controller: {' '.join(last)}", remedy="check --partition, --account and --minutes"
        ) from None


def _log_of(job: str) -> Path:
    """Where submitit writes what a controller says."""
    return LOGS / job / f"{job}_0_log.out"


# what is at work


def _jobs_of_grid() -> list[slurm.Queued]:
    """The jobs of this folder's grid that are in the queue."""
    return [job for job in slurm.queued(Path.cwd()) if job.of_snakemake]


def _need_slurm() -> None:
    """Refuse where SLURM's commands are not to be had, or belong to no cluster."""
    try:
        slurm.queued(Path.cwd())
    except FileNotFoundError as error:
        raise UserError(
            f"there is no SLURM here: {error.strerror or error}",
            remedy="use a login node of your cluster; on a single machine run `snakemake`",
        ) from None


def _queue_says(job: str) -> list[str]:
    """State, time, node and reason of a job."""
    said = slurm.asked("squeue", "-h", "-j", job, "-o", "%T|%M|%N|%r", unknown="")
    # a job may have ended since it was asked after
    return (said.strip() or "gone|||").split("|", 3)


def _end_controller(claim: controller_lock.Claim) -> None:
    """End a controller, and return when it is gone."""
    if claim.job:
        slurm.end([claim.job])
        return
    if not processes.lives(claim.mark):
        raise UserError(f"{claim.name} cannot be ended from here", remedy="run this command on that machine")
    os.kill(int(claim.mark.partition("@")[0]), signal.SIGTERM)
    deadline = time.monotonic() + NOTICE
    while processes.lives(claim.mark):
        if time.monotonic() > deadline:
            raise UserError(f"{claim.name} does not end", remedy="kill it (SIGKILL)")
        time.sleep(0.2)
