"""Cost: how many jobs a study has, how many hours they take, and how long all of it takes."""

import textwrap
from pathlib import Path

import pandas as pd

from headwater.core import text
from headwater.core.errors import UserError
from headwater.planning import preflight
from headwater.planning.runtime_estimate import Estimate, Kind, estimated, explained, kind_of
from headwater.study import config as study_config
from headwater.study.job_graph import Job


def cost(*, config: Path, trainings: int = 1, folder: Path = Path()) -> None:
    """Print the jobs of a study by kind, their hours as far as known, and how long all of it takes.

    Finished jobs tell of others of their kind; of kinds without any, the calibration tells, if there is one.
    --trainings  how many training jobs run side by side (1)
    --folder     where Snakemake was started: its records of finished jobs lie there
    """
    if trainings < 1:
        raise UserError(f"--trainings: {trainings} cannot train anything", remedy="say 1 or more")
    plan = study_config.read(config)
    preflight.check(plan)
    known = estimated(plan, folder=folder)
    print(text.as_text(by_kind(known)), end="\n\n")
    print(textwrap.fill(explained(known, trainings=trainings), width=120))


def by_kind(known: Estimate) -> pd.DataFrame:
    """One row per rule and kind: its jobs, those finished, and what one, all and the rest take."""
    rows = []
    alike: dict[Kind, list[Job]] = {}
    for job in known.jobs:
        alike.setdefault(kind_of(job), []).append(job)
    for kind, members in alike.items():
        finished = sum(job.product in known.finished for job in members)
        hours = known.each[kind] * max(1, members[0].ranks) / 3600 if kind in known.each else None
        rows.append(
            {
                "Rule": kind[0],
                "Of": kind[1],
                "Jobs": str(len(members)),
                "Finished": str(finished),
                "Seconds each": number(known.each.get(kind), "{:.1f}") + (" c" if kind in known.calibrated else ""),
                "Process-hours": number(None if hours is None else hours * len(members), "{:.3f}"),
                "To go": number(None if hours is None else hours * (len(members) - finished), "{:.3f}"),
            }
        )
    return pd.DataFrame(rows)


def number(value: float | None, form: str) -> str:
    """A number in a form; a dash where it is not known."""
    return text.NONE if value is None else form.format(value)
