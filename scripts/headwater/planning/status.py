"""Status: which jobs of a study are done, running, queued, failed or blocked, and when the rest will be done."""

import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import pandas as pd

from headwater.cluster import schedulers, snakemake_state
from headwater.cluster.schedulers import COMPLETED, RUNNING, Absent, Attempt
from headwater.cluster.snakemake_state import Failure
from headwater.core import files, text
from headwater.core.errors import UserError
from headwater.core.page import Page, as_html, as_text
from headwater.core.progress import clock
from headwater.planning import runtime_estimate
from headwater.planning.runtime_estimate import Estimate
from headwater.study import config as study_config
from headwater.study.config import Config
from headwater.study.jobs import Job
from headwater.study.paths import Paths

DEMO = Path("config/config.yaml")

State = Literal["done", "running", "queued", "failed", "blocked"]

STATES: tuple[State, ...] = ("done", "running", "queued", "failed", "blocked")
"""`queued`: the scheduler or Snakemake will start it; `blocked`: it needs a failed job's product, so you must act."""

STOPPED = ("failed", "blocked")

BETWEEN_LOOKS = 10
"""Seconds between two looks of `--watch`."""

COLOURS = {"done": "\033[32m", "running": "\033[36m", "failed": "\033[31m", "blocked": "\033[33m"}
PLAIN = "\033[0m"
WORDS = re.compile(rf"(?<=  )(?:fit |prediction )?({'|'.join(COLOURS)})(?=  |\s*$)", re.MULTILINE)
"""States in the tables of the page, not in its sentences."""

SCHEDULER_STATE = re.compile(r"(\w+) status is: '(\w+)")
"""How the message of Snakemake's executor names its scheduler and the state in which a job has ended."""


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """The state of a job, the seconds that it has been running, a note for people and its log file."""

    job: Job
    state: State
    seconds: float | None = None
    note: str = ""
    log: str = ""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The records of Snakemake and the scheduler on one folder at one moment."""

    folder: Path
    failures: dict[str, Failure]
    newest: Path | None
    """The newest of Snakemake's logs."""
    scheduler: str
    """The name of the scheduler here; empty without one."""
    queue: list[Attempt]
    at_work: bool
    """Whether a Snakemake is running in the folder."""
    now: float


def status(
    config: Path = DEMO,
    *,
    trainings: int = 0,
    html: Path | None = None,
    watch: bool = False,
    folder: Path = Path(),
) -> None:
    """Show the state of every job of a study, the hours spent, and when the rest will be done.

    Reads the records of Snakemake and of the scheduler; nothing is changed.

    Args:
        config: Config file of the study; by default the demo's.
        trainings: Number of trainings that run in parallel, for the time left; 0 means as many as are running now.
        html: File to which the page is also written as HTML, with curves, costs and, at the end, results.
        watch: Show it again every 10 seconds until all jobs are done, or until Ctrl-C.
        folder: Folder where Snakemake was started.
    """
    if trainings < 0:
        raise UserError(f"--trainings must be >= 0 (got {trainings})")
    plan = study_config.read(config)
    if html:
        # imported here, because pages for the terminal need not wait for drawings
        from headwater.planning.dashboard import with_dashboard
    while True:
        runtimes = runtime_estimate.estimated(plan, folder=folder)
        snapshot = read_snapshot(folder)
        statuses = job_statuses(runtimes.jobs, snapshot)
        page = _page(plan, runtimes, statuses, snapshot, config=config, trainings=trainings)
        _show(as_text(page), anew=watch)
        if html:
            _write(as_html(with_dashboard(page, plan, runtimes, folder=folder)), html)
        if not watch or all(status.state == "done" for status in statuses):
            return
        time.sleep(BETWEEN_LOOKS)


def _write(page: str, file: Path) -> None:
    """Write the page, or say why it cannot be written there."""
    try:
        files.write_text(page, file)
    except OSError as error:
        thing = f"cannot be written: {error.strerror or error}"
        raise UserError(thing, file=file, remedy="name a file in a folder of yours") from None


def _show(page: str, *, anew: bool) -> None:
    """Print the page, on a terminal in colours and, if it is shown again and again, in place of the one before."""
    if sys.stdout.isatty():
        # no-color.org
        if not os.environ.get("NO_COLOR"):
            page = WORDS.sub(lambda word: f"{COLOURS[word[1]]}{word[0]}{PLAIN}", page)
        if anew:
            # from the upper left corner, on an empty screen
            page = f"\033[H\033[2J{page}"
    print(page, flush=True)


# the state of each job


def read_snapshot(folder: Path) -> Snapshot:
    """The records of a folder as they are now; refuses if there is a scheduler that does not answer."""
    try:
        scheduler = schedulers.in_force()
        title, queue = scheduler.TITLE, scheduler.attempts(folder)
    except Absent:
        title, queue = "", []
    # a Snakemake on another node is not in the list of processes here, but its lock and its jobs are visible
    here = snakemake_state.lives_here(folder)
    return Snapshot(
        folder=folder,
        failures=snakemake_state.failures(folder),
        newest=max(snakemake_state.logs(folder), default=None),
        scheduler=title,
        queue=queue,
        at_work=bool(here) or (snakemake_state.locked(folder) and (here is None or bool(queue))),
        now=time.time(),
    )


def job_statuses(jobs: list[Job], snapshot: Snapshot) -> list[JobStatus]:
    """The state of each job, in the order of the jobs."""
    by_comment = {attempt.comment: attempt for attempt in snapshot.queue}
    by_number = {attempt.number: attempt for attempt in snapshot.queue}
    comments = {job.comment for job in jobs}
    shared = [attempt for attempt in snapshot.queue if attempt.comment not in comments]
    # running ones come first: a job whose mark has no number has begun at least once
    groups = sorted(shared, key=lambda attempt: not attempt.runs)
    statuses: dict[str, JobStatus] = {}
    for job in jobs:
        mark = snakemake_state.mark(job.product, folder=snapshot.folder)
        own = by_comment.get(job.comment) or (by_number.get(mark.number) if mark and mark.number else None)
        if (snapshot.folder / job.product).is_file() and not mark:
            statuses[job.product] = JobStatus(job=job, state="done")
        elif own:
            statuses[job.product] = _in_queue(job, own, mark, scheduler=snapshot.scheduler)
        elif mark and (group := _group_of(job, groups)):
            statuses[job.product] = _in_group(job, group, snapshot.now - mark.since, scheduler=snapshot.scheduler)
        elif mark and snapshot.at_work:
            statuses[job.product] = _running(job, snapshot.now - mark.since, "")
        elif failure := _failure(job, snapshot):
            statuses[job.product] = _failed(job, failure, snapshot.folder)
        elif stopped := [need for need in job.needs if need in statuses and statuses[need].state in STOPPED]:
            first = statuses[stopped[0]]
            note = first.note if first.state == "blocked" else first.job.title
            statuses[job.product] = JobStatus(job=job, state="blocked", note=note)
        else:
            statuses[job.product] = JobStatus(job=job, state="queued", note="interrupted" if mark else "")
    return list(statuses.values())


def _in_queue(job: Job, attempt: Attempt, mark: snakemake_state.Mark | None, *, scheduler: str) -> JobStatus:
    """A job that is pending or running in the scheduler."""
    # if several jobs share a scheduler's job, its number stays in the mark of those that have not begun
    shared = attempt.comment != job.comment
    if attempt.runs and not (shared and mark and mark.number):
        return _running(job, attempt.seconds, f"{scheduler} job {attempt.number} on {attempt.where}")
    where = "after other jobs in it" if attempt.runs else attempt.where.strip("()")
    return JobStatus(job=job, state="queued", note=f"{scheduler} job {attempt.number}: {where}")


def _in_group(job: Job, group: Attempt, seconds: float, *, scheduler: str) -> JobStatus:
    """A job that has begun in a scheduler's job shared with others, which is running or was requeued."""
    if group.runs:
        return _running(job, seconds, f"{scheduler} job {group.number} on {group.where}")
    return JobStatus(job=job, state="queued", note=f"{scheduler} job {group.number}: {group.where.strip('()')}")


def _running(job: Job, seconds: float, note: str) -> JobStatus:
    return JobStatus(job=job, state="running", seconds=max(0.0, seconds), note=note, log=job.log)


def _group_of(job: Job, groups: list[Attempt]) -> Attempt | None:
    """The shared scheduler's job that may contain this job: its comment lists the rules of its jobs."""
    return next((group for group in groups if f"_{job.rule}_" in f"{group.comment}_"), None)


def _failure(job: Job, snapshot: Snapshot) -> Failure | None:
    """A job's failure; none if a later Snakemake is running, which will retry the job."""
    failure = snapshot.failures.get(job.product)
    return None if failure and snapshot.at_work and failure.reported_in != snapshot.newest else failure


def _failed(job: Job, failure: Failure, folder: Path) -> JobStatus:
    """A failed job with the last line of its log, and the scheduler's state unless that is just FAILED."""
    logs = [log for log in (job.log, *failure.logs) if (folder / log).is_file()]
    words = [word for log in logs if (word := snakemake_state.last_word(folder / log))]
    ended = SCHEDULER_STATE.search(failure.message)
    by_scheduler = f"{ended[1]}: {ended[2]}" if ended and ended[2] != "FAILED" else ""
    note = "; ".join(filter(None, [by_scheduler, *words[:1]])) or failure.message or "its log gives no reason"
    return JobStatus(job=job, state="failed", note=note, log=(logs or [job.log])[0])


# the page


def _page(
    plan: Config, runtimes: Estimate, statuses: list[JobStatus], snapshot: Snapshot, *, config: Path, trainings: int
) -> Page:
    """The page of a study."""
    running = [status for status in statuses if status.state == "running"]
    parallel = trainings or max(1, sum(bool(status.job.ranks) for status in running))
    parts: list[tuple[str, pd.DataFrame | list[str]]] = [("Jobs", _by_rule(statuses))]
    parts += [(name, table) for name, table in _by_run(statuses)]
    failed = [status for status in statuses if status.state == "failed"]
    if failed:
        lines = [line for status in failed for line in (f"{status.job.title}: {status.note}", f"  {status.log}")]
        parts.append(("Failed", lines))
    if running:
        parts.append(("Running", [_progress(status, runtimes) for status in running]))
    queued = [status for status in statuses if status.state == "queued" and status.note]
    if queued:
        parts.append(("Queued", [f"{status.job.title}: {status.note}" for status in queued]))
    blocked = Counter(status.note for status in statuses if status.state == "blocked")
    if blocked:
        lines = [f"{failed_job}: {text.many(count, 'job')}" for failed_job, count in blocked.items()]
        parts.append(("Blocked by a failed job", lines))
    when = datetime.fromtimestamp(snapshot.now).strftime("%Y-%m-%d %H:%M")
    summary = [
        _snakemake(
            snapshot, finished=all(status.state == "done" for status in statuses), page=Paths(plan.results).page()
        ),
        _spent(runtimes, statuses, snapshot),
        _remaining(runtimes, statuses, now=snapshot.now, trainings=parallel),
    ]
    return Page(title=f"{config}, {plan.results}: {when}", summary=summary, parts=parts)


def _by_rule(statuses: list[JobStatus]) -> pd.DataFrame:
    """The number of jobs of each rule in each state."""
    counts: dict[str, Counter] = {}
    for status in statuses:
        counts.setdefault(status.job.rule, Counter())[status.state] += 1
    counts["total"] = sum(counts.values(), Counter())
    return pd.DataFrame(
        {"Rule": rule, "Jobs": str(states.total()), **{state: str(states[state]) for state in STATES}}
        for rule, states in counts.items()
    )


def _by_run(statuses: list[JobStatus]) -> Iterator[tuple[str, pd.DataFrame]]:
    """For each dataset and recipe the state of each run: a row for a source, a column for a seed."""
    rows_of: dict[str, dict[str, dict[str, str]]] = {}
    for (dataset, source, recipe, seed), state in runs(statuses).items():
        row = rows_of.setdefault(f"{dataset}, {recipe}", {}).setdefault(source, {"Source": source})
        row[f"seed {seed}"] = state
    for name, rows in rows_of.items():
        yield name, pd.DataFrame(rows.values())


def runs(statuses: list[JobStatus]) -> dict[tuple[str, ...], str]:
    """The state of each run by dataset, source, recipe and seed: that of its first unfinished job, or done."""
    state_of: dict[tuple[str, ...], str] = {}
    for status in statuses:
        for run in status.job.runs if status.job.rule in ("finetune", "predict") else ():
            place = (run.dataset.name, run.source.name, run.recipe.name, str(run.seed))
            if status.job.rule == "finetune":
                state_of[place] = "fitted" if status.state == "done" else f"fit {status.state}"
            elif state_of[place] == "fitted":
                state_of[place] = "done" if status.state == "done" else f"prediction {status.state}"
    return state_of


def _progress(status: JobStatus, runtimes: Estimate) -> str:
    """How long a job has been running, and the estimate for its kind."""
    usual = runtimes.takes(status.job)
    of_about = f" of about {clock(usual)}" if usual else ""
    return f"{status.job.title}: {clock(status.seconds or 0)}{of_about}{f', {status.note}' if status.note else ''}"


def _snakemake(snapshot: Snapshot, *, finished: bool, page: str) -> str:
    """Whether Snakemake is running, and if not, what to do, or where the report is."""
    if snapshot.at_work:
        state = "Snakemake is running in this folder."
    elif snakemake_state.locked(snapshot.folder):
        state = (
            "This folder is locked by Snakemake, but no running Snakemake was found. If it was killed, run "
            "snakemake --unlock and start it again."
        )
    elif finished:
        state = f"All jobs are done. Report: {page}"
    else:
        state = "Snakemake is not running in this folder; start it to continue with the queued jobs."
    in_queue = f" {snapshot.scheduler} has {text.many(len(snapshot.queue), 'job')} of this folder."
    return state + (in_queue if snapshot.queue else "")


def _spent(runtimes: Estimate, statuses: list[JobStatus], snapshot: Snapshot) -> str:
    """The recorded cost of finished, failed and running attempts."""
    return _spent_by_accounting(snapshot.folder) or _spent_by_records(runtimes, statuses, snapshot)


def _spent_by_accounting(folder: Path) -> str:
    """The GPU-hours in the scheduler's accounting; empty if it has none of this folder."""
    scheduler = schedulers.used_in(folder)
    if scheduler is None:
        return ""
    attempts = scheduler.accounting(folder, since=snakemake_state.begun(folder)) or []
    if not any(attempt.gpus for attempt in attempts):
        return ""
    hours = sum(attempt.gpus * attempt.seconds for attempt in attempts) / 3600
    lost = [attempt for attempt in attempts if attempt.state not in (COMPLETED, RUNNING)]
    wasted = sum(attempt.gpus * attempt.seconds for attempt in lost) / 3600
    return f"Spent: {hours:.3f} GPU-hours ({scheduler.TITLE} accounting), {wasted:.3f} of them in attempts that failed."


def _spent_by_records(runtimes: Estimate, statuses: list[JobStatus], snapshot: Snapshot) -> str:
    """The process-hours in Snakemake's own records."""
    done = sum((runtimes.finished.get(status.job.product) or 0.0) * status.job.ranks for status in statuses) / 3600
    running = [status for status in statuses if status.state == "running"]
    now = sum((status.seconds or 0.0) * status.job.ranks for status in running) / 3600
    failed = 0.0
    for job in (status.job for status in statuses if status.state == "failed"):
        failed += (snakemake_state.seconds(job.product, folder=snapshot.folder) or 0.0) * job.ranks / 3600
    unknown = sum(
        status.job.ranks > 0 and runtimes.finished.get(status.job.product, 0.0) is None for status in statuses
    )
    missing = f" Not included: {text.many(unknown, 'finished job')} of unknown duration." if unknown else ""
    return (
        f"Spent: {done:.3f} process-hours (GPU-hours if there are GPUs) by finished jobs, {now:.3f} by running jobs, "
        f"{failed:.3f} by failed jobs.{missing}"
    )


def _remaining(runtimes: Estimate, statuses: list[JobStatus], *, now: float, trainings: int) -> str:
    """Jobs and hours that remain and when they will be done, without failed and blocked jobs."""
    runnable = [status for status in statuses if status.state in ("running", "queued")]
    passed = {status.job.product: status.seconds or 0.0 for status in runnable}
    stopped = sum(status.state in STOPPED for status in statuses)
    ending = f"; {stopped} failed or blocked." if stopped else "."
    begin = f"Remaining: {text.many(len(runnable), 'runnable job')}"
    if not runnable:
        return begin + ending
    unknown = sum(runtime_estimate.kind_of(status.job) not in runtimes.each for status in runnable)
    if unknown == len(runnable):
        why = "how long they take is not known before one of each kind is finished, or headwater plan calibrate was run"
        return f"{begin}; {why}{ending}"
    without = f" (without {text.many(unknown, 'job')} of unknown duration)" if unknown else ""

    def takes(job: Job) -> float:
        return max(0.0, runtimes.takes(job) - passed[job.product])

    jobs = [status.job for status in runnable]
    hours = sum(takes(job) * job.ranks for job in jobs) / 3600
    seconds = runtime_estimate.wall(jobs, takes, trainings=trainings)
    end = datetime.fromtimestamp(now + seconds).strftime("%Y-%m-%d %H:%M")
    return (
        f"{begin}, {hours:.3f} process-hours{without}; with {text.many(trainings, 'parallel training')} at least "
        f"{clock(seconds)}, until {end}{ending}"
    )
