"""Cost: how many jobs a study has, how many hours each kind takes, and how long the whole study takes."""

import textwrap
from pathlib import Path

import pandas as pd

from headwater.core import text
from headwater.core.errors import UserError
from headwater.planning import preflight
from headwater.planning.runtime_estimate import Estimate, Kind, estimated, explained, kind_of
from headwater.study import config as study_config
from headwater.study.jobs import Job


def cost(config: Path, *, trainings: int = 1, folder: Path = Path()) -> None:
    """List the estimated hours of each kind of job, and the total duration.

    Estimates come from finished jobs of the same kind; before there are any, from the timing profile that `headwater
    plan calibrate` measured.

    Args:
        config: Config file of the study.
        trainings: Number of trainings that run in parallel.
        folder: Folder where Snakemake was started; its records of finished jobs are there.
    """
    check_parallel(trainings)
    plan = study_config.read(config)
    preflight.check(plan)
    runtimes = estimated(plan, folder=folder)
    print(text.as_text(by_kind(runtimes)), end="\n\n")
    print(textwrap.fill(explained(runtimes, trainings=trainings), width=120))


def check_parallel(trainings: int) -> None:
    """Refuse a number of parallel trainings below 1."""
    if trainings < 1:
        raise UserError(f"--trainings must be >= 1 (got {trainings})")


def by_kind(runtimes: Estimate) -> pd.DataFrame:
    """One row per rule and kind: its jobs, those finished, seconds of one, process-hours of all and of the rest."""
    rows = []
    jobs_of: dict[Kind, list[Job]] = {}
    for job in runtimes.jobs:
        jobs_of.setdefault(kind_of(job), []).append(job)
    for kind, members in jobs_of.items():
        finished = sum(job.product in runtimes.finished for job in members)
        hours = runtimes.each[kind] * max(1, members[0].ranks) / 3600 if kind in runtimes.each else None
        origin = " c" if kind in runtimes.from_profile else ""
        rows.append(
            {
                "Rule": kind[0],
                "Of": kind[1],
                "Jobs": str(len(members)),
                "Finished": str(finished),
                "Seconds each": number(runtimes.each.get(kind), "{:.1f}") + origin,
                "Process-hours": number(None if hours is None else hours * len(members), "{:.3f}"),
                "Remaining": number(None if hours is None else hours * (len(members) - finished), "{:.3f}"),
                **_memory(kind, runtimes),
            }
        )
    return pd.DataFrame(rows)


def _memory(kind: Kind, runtimes: Estimate) -> dict[str, str]:
    """The column of the memory that a job needs on a GPU, if any was measured on one."""
    most = runtimes.memory.get(kind)
    return {"GPU GB": number(None if most is None else most / 1e9, "{:.2f}")} if runtimes.memory else {}


def number(value: float | None, form: str) -> str:
    """A number in a format; a dash if it is unknown."""
    return text.NONE if value is None else form.format(value)
