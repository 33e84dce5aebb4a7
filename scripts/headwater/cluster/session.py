"""What Snakemake does before the first job of a study, and after the last one."""

import sys
from pathlib import Path
from typing import Any

from headwater.cluster import config_copy, schedulers, waiting
from headwater.cluster.schedulers import Absent
from headwater.core.errors import UserError
from headwater.study.job_graph import JobGraph


def begin(graph: JobGraph, *, content: dict[str, Any], local: bool, session: str | None) -> Path:
    """Refuse trainings on several nodes if there is only this machine; end jobs that a killed Snakemake has left.

    Gives the copy of the config, whose content is `content`, by which all jobs shall work.
    """
    config = graph.config
    trainings = [*config.sources.values(), *config.recipes.values()]
    nodes = max(config.compute.of(training.compute).nodes for training in trainings)
    if local and not schedulers.of_this_job() and nodes > 1:
        raise UserError(
            f"trainings on several nodes need {schedulers.titles()}",
            remedy=f"set nodes: 1, or say --profile {schedulers.profiles()}",
        )
    # first, so that a job that starts before it is ended is refused
    copy = config_copy.keep(content, Path(graph.paths.plans()))
    end_former(Path(graph.paths.sessions()), session=session)
    return copy


def end_former(sessions: Path, *, session: str | None) -> None:
    """End the jobs that former Snakemakes of this study have left in the queue, and note the name of our own jobs.

    This Snakemake does not know them and submits their work again. Running trainings save their progress when they are
    ended. The file `sessions` holds the names of the jobs of each Snakemake run, so that jobs of another study in the
    same folder are not touched. Nothing happens without a scheduler. If a job does not end in time, or the scheduler
    stays silent, the study begins all the same: the run lock still prevents that a run is trained twice.
    """
    try:
        names = set(sessions.read_text().split())
    except FileNotFoundError:
        names = set()
    try:
        _end_named(names)
        names = set()
    except Absent:
        return
    except UserError as refusal:
        print(f"headwater: {refusal}; going on", file=sys.stderr)
    if session:
        sessions.parent.mkdir(parents=True, exist_ok=True)
        # names whose jobs could not be ended are kept, for the next start to try again
        sessions.write_text("\n".join([*sorted(names), session]) + "\n")


def _end_named(names: set[str]) -> None:
    """End this user's jobs with these names."""
    # without names nobody is asked: a study on one machine must not wait for a scheduler that is down
    if not names:
        return
    scheduler = waiting.answered(schedulers.in_force)
    former = [job.number for job in waiting.answered(scheduler.queued) if job.name in names]
    if former:
        print(f"headwater: ending the jobs of a former Snakemake: {', '.join(former)}", file=sys.stderr)
        waiting.end(former, scheduler=scheduler)


def end(graph: JobGraph) -> None:
    """Delete the progress of finished trainings, as none is running any more."""
    products = graph.progress()
    for saved in map(str, Path(graph.paths.progress()).glob("*.pt")):
        if saved in products and Path(products[saved]).exists():
            Path(saved).unlink()
