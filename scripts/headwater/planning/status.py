"""Status: which jobs of a study are done, run, wait or failed, and when the rest will be done, on one page."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import pandas as pd

from headwater.cluster import accounting, snakemake_state
from headwater.cluster.accounting import Attempt
from headwater.cluster.snakemake_state import Failure
from headwater.core import files
from headwater.core.page import Page, as_html, as_text
from headwater.core.progress import clock
from headwater.planning import runtime_estimate
from headwater.planning.runtime_estimate import Estimate
from headwater.study import config as study_config
from headwater.study.config import Config
from headwater.study.job_graph import Job

DEMO = Path("config/config.yaml")

State = Literal["done", "running", "queued", "failed", "waits"]

STATES: tuple[State, ...] = ("done", "running", "queued", "failed", "waits")
"""`queued`: its turn comes, in SLURM's queue or Snakemake's; `waits`: for a failed job, and so for somebody to act."""

SLURM_STATE = re.compile(r"status is: '(\w+)")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a job stands: since when it runs, what there is to say of it, and where its log lies."""

    job: Job
    state: State
    seconds: float | None = None
    note: str = ""
    log: str = ""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What Snakemake and SLURM say of a folder, asked once."""

    folder: Path
    failures: dict[str, Failure]
    newest: Path | None
    """The newest of Snakemake's logs."""
    queue: list[Attempt]
    at_work: bool
    """Whether a Snakemake is at work in the folder."""
    now: float


def status(*, config: Path = DEMO, trainings: int = 0, html: Path | None = None, folder: Path = Path()) -> None:
    """Print how every job of a study stands, what it has cost, and when it will be done.

    --config     the study; the demo where none is named
    --trainings  how many training jobs run side by side, for the time left; as many as now run (0)
    --html       write the page there, too
    --folder     where Snakemake was started
    """
    plan = study_config.read(config)
    known = runtime_estimate.estimated(plan, folder=folder)
    heard = hear(folder)
    found = standings(known.jobs, heard)
    page = _page(plan, known, found, heard, config=config, trainings=trainings)
    print(as_text(page))
    if html:
        files.write_text(as_html(page), html)


# how each job stands


def hear(folder: Path) -> Heard:
    """What can be heard of a folder now; refuses where there is a SLURM that does not answer."""
    queue = accounting.in_queue(folder) or []
    # on another machine of the cluster its process cannot be seen, but its lock and its jobs can
    here = snakemake_state.lives_here(folder)
    return Heard(
        folder=folder,
        failures=snakemake_state.failures(folder),
        newest=max(snakemake_state.logs(folder), default=None),
        queue=queue,
        at_work=bool(here) or (snakemake_state.locked(folder) and (here is None or bool(queue))),
        now=time.time(),
    )


def standings(jobs: list[Job], heard: Heard) -> list[Standing]:
    """How each job stands, in the order of the jobs."""
    by_comment = {attempt.comment: attempt for attempt in heard.queue}
    by_number = {attempt.number: attempt for attempt in heard.queue}
    alone = {job.comment for job in jobs}
    # those that run first: a job whose mark tells no number has begun at least once
    groups = sorted((one for one in heard.queue if one.comment not in alone), key=lambda one: not one.runs)
    found: dict[str, Standing] = {}
    for job in jobs:
        mark = snakemake_state.mark(job.product, folder=heard.folder)
        own = by_comment.get(job.comment) or (by_number.get(mark.slurm) if mark and mark.slurm else None)
        if (heard.folder / job.product).is_file() and not mark:
            found[job.product] = Standing(job=job, state="done")
        elif own:
            found[job.product] = _in_slurm(job, own, mark)
        elif mark and (group := _group_of(job, groups)):
            found[job.product] = _in_group(job, group, heard.now - mark.since)
        elif mark and heard.at_work:
            found[job.product] = _running(job, heard.now - mark.since, "")
        elif failure := _failure(job, heard):
            found[job.product] = _failed(job, failure, heard.folder)
        elif behind := [need for need in job.needs if need in found and found[need].state in ("failed", "waits")]:
            first = found[behind[0]]
            found[job.product] = Standing(
                job=job, state="waits", note=first.note if first.state == "waits" else first.job.title
            )
        else:
            found[job.product] = Standing(job=job, state="queued", note="was cut off" if mark else "")
    return list(found.values())


def _in_slurm(job: Job, attempt: Attempt, mark: snakemake_state.Mark | None) -> Standing:
    """A job that stands in SLURM's queue or runs there."""
    # of several jobs in one SLURM job, the number stays in the mark of those whose turn has not come
    shared = attempt.comment != job.comment
    if attempt.runs and not (shared and mark and mark.slurm):
        return _running(job, attempt.seconds, f"SLURM job {attempt.number} on {attempt.where}")
    where = "after others in it" if attempt.runs else attempt.where.strip("()")
    return Standing(job=job, state="queued", note=f"SLURM job {attempt.number}: {where}")


def _in_group(job: Job, group: Attempt, seconds: float) -> Standing:
    """A job that has begun in a SLURM job of several, which runs or was put back into the queue."""
    if group.runs:
        return _running(job, seconds, f"SLURM job {group.number} on {group.where}")
    return Standing(job=job, state="queued", note=f"SLURM job {group.number}: {group.where.strip('()')}")


def _running(job: Job, seconds: float, note: str) -> Standing:
    return Standing(job=job, state="running", seconds=max(0.0, seconds), note=note, log=job.log)


def _group_of(job: Job, groups: list[Attempt]) -> Attempt | None:
    """The SLURM job of several jobs that this one may be in: its comment ends in the rules of its jobs."""
    return next((group for group in groups if f"_{job.rule}_" in f"{group.comment}_"), None)


def _failure(job: Job, heard: Heard) -> Failure | None:
    """A job's failure; none where a later Snakemake, now at work, will try it again."""
    failure = heard.failures.get(job.product)
    return None if failure and heard.at_work and failure.told_in != heard.newest else failure


def _failed(job: Job, failure: Failure, folder: Path) -> Standing:
    """A failed job with the last word of its log, and how SLURM ended it, if that was not by its own error."""
    logs = [log for log in (job.log, *failure.logs) if (folder / log).is_file()]
    words = [word for log in logs if (word := snakemake_state.last_word(folder / log))]
    ended = SLURM_STATE.search(failure.message)
    by_slurm = f"SLURM: {ended[1]}" if ended and ended[1] != "FAILED" else ""
    said = "; ".join(filter(None, [by_slurm, *words[:1]])) or failure.message or "nothing is said in its log"
    return Standing(job=job, state="failed", note=said, log=(logs or [job.log])[0])


# what is told of them


def _page(plan: Config, known: Estimate, found: list[Standing], heard: Heard, *, config: Path, trainings: int) -> Page:
    """The page of a study."""
    running = [one for one in found if one.state == "running"]
    side_by_side = trainings or max(1, sum(bool(one.job.ranks) for one in running))
    parts: list[tuple[str, pd.DataFrame | list[str]]] = [("", _by_rule(found))]
    parts += [(name, table) for name, table in _by_run(found)]
    failed = [one for one in found if one.state == "failed"]
    if failed:
        parts.append(("Failed", [line for one in failed for line in (f"{one.job.title}: {one.note}", f"  {one.log}")]))
    if running:
        parts.append(("Running", [_of_running(one, known) for one in running]))
    in_slurm = [one for one in found if one.state == "queued" and one.note]
    if in_slurm:
        parts.append(("Queued", [f"{one.job.title}: {one.note}" for one in in_slurm]))
    waiting = Counter(one.note for one in found if one.state == "waits")
    if waiting:
        parts.append(("Wait for a failed job", [f"{count} for {note}" for note, count in waiting.items()]))
    when = datetime.fromtimestamp(heard.now).strftime("%Y-%m-%d %H:%M")
    said = [_who_works(heard), _spent(plan, known, found, heard), _left(known, found, heard, trainings=side_by_side)]
    return Page(title=f"{config}, {plan.results}: {when}", said=said, parts=parts)


def _by_rule(found: list[Standing]) -> pd.DataFrame:
    """How many jobs of each rule stand how."""
    counted: dict[str, Counter] = {}
    for one in found:
        counted.setdefault(one.job.rule, Counter())[one.state] += 1
    counted["together"] = sum(counted.values(), Counter())
    return pd.DataFrame(
        {"Rule": rule, "Jobs": str(states.total()), **{state: str(states[state]) for state in STATES}}
        for rule, states in counted.items()
    )


def _by_run(found: list[Standing]) -> Iterator[tuple[str, pd.DataFrame]]:
    """For each dataset and recipe how each run stands: a row for a source, a column for a seed."""
    tables_of: dict[str, dict[str, dict[str, str]]] = {}
    for (dataset, source, recipe, seed), state in runs(found).items():
        row = tables_of.setdefault(f"{dataset}, {recipe}", {}).setdefault(source, {"Source": source})
        row[f"seed {seed}"] = state
    for name, rows in tables_of.items():
        yield name, pd.DataFrame(rows.values())


def runs(found: list[Standing]) -> dict[tuple[str, ...], str]:
    """How each run stands, by its dataset, source, recipe and seed; and in which of its two jobs, if not done."""
    states: dict[tuple[str, ...], str] = {}
    for one in found:
        for run in one.job.runs if one.job.rule in ("finetune", "predict") else ():
            place = (run.dataset.name, run.source.name, run.recipe.name, str(run.seed))
            if one.job.rule == "finetune":
                states[place] = "fitted" if one.state == "done" else _in_words(one)
            elif states[place] == "fitted":
                states[place] = _in_words(one)
    return states


def _in_words(one: Standing) -> str:
    if one.state == "done":
        return "done"
    return f"{'fit' if one.job.rule == 'finetune' else 'prediction'} {one.state}"


def _of_running(one: Standing, known: Estimate) -> str:
    """Since when a job runs, and how long its like took."""
    usual = known.takes(one.job)
    about = f" of about {clock(usual)}" if usual else ""
    return f"{one.job.title}: {clock(one.seconds or 0)}{about}{f', {one.note}' if one.note else ''}"


def _who_works(heard: Heard) -> str:
    """Whether anybody sees to the queued jobs."""
    if heard.at_work:
        work = "Snakemake is at work here."
    elif snakemake_state.locked(heard.folder):
        work = (
            "Snakemake's lock is held, but none is seen at work: if it was killed, say snakemake --unlock and start it."
        )
    else:
        work = "Snakemake is not at work here: start it, and what is queued goes on."
    many = len(heard.queue)
    return work + (f" SLURM has {many} {'job' if many == 1 else 'jobs'} of this folder." if many else "")


def _spent(plan: Config, known: Estimate, found: list[Standing], heard: Heard) -> str:
    """What finished, failed and running attempts have cost, as far as it is noted."""
    if snakemake_state.used_slurm(heard.folder):
        attempts = accounting.in_books(heard.folder, since=snakemake_state.begun(heard.folder)) or []
        if any(attempt.gpus for attempt in attempts):
            hours = sum(attempt.gpus * attempt.seconds for attempt in attempts) / 3600
            lost = sum(one.gpus * one.seconds for one in attempts if one.state not in ("COMPLETED", "RUNNING")) / 3600
            return (
                f"Spent: {hours:.3f} GPU-hours by SLURM's books, {lost:.3f} of them by attempts that did not complete."
            )
    done = sum((known.finished.get(one.job.product) or 0.0) * one.job.ranks for one in found) / 3600
    runs_now = sum((one.seconds or 0.0) * one.job.ranks for one in found if one.state == "running") / 3600
    failed = [one.job for one in found if one.state == "failed"]
    lost = sum((snakemake_state.seconds(job.product, folder=heard.folder) or 0.0) * job.ranks for job in failed) / 3600
    unknown = sum(one.job.ranks > 0 and known.finished.get(one.job.product, 0.0) is None for one in found)
    without = f" Of {unknown} finished jobs nobody noted it." if unknown else ""
    return (
        f"Spent: {done:.3f} process-hours (GPU-hours where there are GPUs) on finished jobs, {runs_now:.3f} on running "
        f"ones, {lost:.3f} on failed ones.{without}"
    )


def _left(known: Estimate, found: list[Standing], heard: Heard, *, trainings: int) -> str:
    """Hours to come and when they will be over, if nobody mends what failed and so holds up others."""
    coming = [one for one in found if one.state in ("running", "queued")]
    passed = {one.job.product: one.seconds or 0.0 for one in coming}
    stopped = sum(one.state in ("failed", "waits") for one in found)
    held_up = f" Without the {stopped} jobs that failed or wait for those." if stopped else ""
    if not coming:
        return f"To go: nothing.{held_up}"
    unknown = sum(runtime_estimate.kind_of(one.job) not in known.each for one in coming)
    at_least = f", without {unknown} jobs of which no time is known" if unknown else ""

    def takes(job: Job) -> float:
        return max(0.0, known.takes(job) - passed[job.product])

    jobs = [one.job for one in coming]
    hours = sum(takes(job) * job.ranks for job in jobs) / 3600
    seconds = runtime_estimate.wall(jobs, takes, trainings=trainings)
    over = datetime.fromtimestamp(heard.now + seconds).strftime("%Y-%m-%d %H:%M")
    return (
        f"To go: {hours:.3f} process-hours{at_least}; with {trainings} trainings at a time at least {clock(seconds)}, "
        f"until {over}.{held_up}"
    )


# the page
