"""Hindsight: process-hours as they would have been foretold, beside those that the jobs took in the end."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from headwater.core import text
from headwater.core.errors import UserError
from headwater.planning import cost, runtime_estimate, timing_profile
from headwater.planning.runtime_estimate import Estimate
from headwater.study import config as study_config
from headwater.study.config import Config
from headwater.study.job_graph import Job

GOOD = 0.25
"""Share by which a foretold number may miss."""


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """Finished jobs of one kind that were held out: how many, and their process-hours by each way of telling."""

    rule: str
    of: str
    jobs: int
    took: float
    by_others: float | None
    by_calibration: float | None


def hindsight(*, config: Path, held_out: list[int] | None = None, folder: Path = Path()) -> None:
    """Print what was foretold of finished training jobs beside what they took, and whether it is within 25 %.

    --held-out  seeds whose runs are foretold from those of the others (the later half of the seeds)
    --folder    where Snakemake was started
    """
    plan = study_config.read(config)
    seeds = list(held_out) if held_out else sorted(plan.seeds)[(len(plan.seeds) + 1) // 2 :]
    if strange := sorted(set(seeds) - set(plan.seeds)):
        raise UserError(f"--held-out: {strange} are no seeds of the study", remedy=f"choose of {list(plan.seeds)}")
    known = runtime_estimate.estimated(plan, folder=folder)
    told = foretold(plan, known, seeds=seeds, folder=folder)
    if not told:
        raise UserError("no training job of the study has finished", file=config, remedy="run some of it first")
    print(f"Process-hours of finished jobs; held out: seeds {', '.join(map(str, seeds))} and all pre-trainings\n")
    print(text.as_text(as_table(told)), end="\n\n")
    for way, name in (("by_others", "the other seeds"), ("by_calibration", "the calibration")):
        print(textwrap.fill(verdict(told, way=way, name=name), width=120))


def foretold(plan: Config, known: Estimate, *, seeds: list[int], folder: Path) -> list[Foretold]:
    """The kinds of finished training jobs that are held out, and what the rest of the finished ones says of them."""
    measured = [job for job in known.jobs if job.ranks and known.finished.get(job.product) is not None]
    # a prediction serves all seeds, and so is held out where all of them are
    out = [job for job in measured if all(run.seed in seeds for run in job.runs)]
    told = [job for job in measured if not all(run.seed in seeds for run in job.runs)]
    each = runtime_estimate.typical(told, known.finished)
    machine = timing_profile.read(plan, folder=folder)
    alike: dict[runtime_estimate.Kind, list[Job]] = {}
    for job in out:
        alike.setdefault(runtime_estimate.kind_of(job), []).append(job)
    rows = []
    for kind, jobs in alike.items():
        processes = len(jobs) * jobs[0].ranks / 3600
        single = timing_profile.foretold(jobs[0], plan=plan, profile=machine, folder=folder) if machine else None
        rows.append(
            Foretold(
                rule=kind[0],
                of=kind[1],
                jobs=len(jobs),
                took=sum(known.finished[job.product] * job.ranks for job in jobs) / 3600,
                by_others=each[kind] * processes if kind in each else None,
                by_calibration=None if single is None else single * processes,
            )
        )
    return rows


def as_table(told: list[Foretold]) -> pd.DataFrame:
    """One row per kind, and their sums."""
    rows = [_row(one.rule, one.of, one.jobs, one.took, one.by_others, one.by_calibration) for one in told]
    sums = [_sum(told, way=way) for way in ("by_others", "by_calibration")]
    # each sum beside what the same jobs took
    for name, place, (predicted, took, jobs) in zip(
        ("all that the other seeds tell", "all that the calibration tells"), (0, 1), sums, strict=True
    ):
        if jobs:
            ways = [predicted if place == at else None for at in (0, 1)]
            rows.append(_row("together", name, jobs, took, *ways))
    return pd.DataFrame(rows)


def _row(
    rule: str, of: str, jobs: int, took: float, by_others: float | None, by_calibration: float | None
) -> dict[str, str]:
    return {
        "Rule": rule,
        "Of": of,
        "Jobs": str(jobs),
        "Took": f"{took:.4f}",
        "By other seeds": cost.number(by_others, "{:.4f}"),
        "Ratio": cost.number(None if by_others is None else by_others / took, "{:.2f}"),
        "By calibration": cost.number(by_calibration, "{:.4f}"),
        "Ratio ": cost.number(None if by_calibration is None else by_calibration / took, "{:.2f}"),
    }


def _sum(told: list[Foretold], *, way: str) -> tuple[float, float, int]:
    """(foretold, taken, jobs) over the kinds of which a way tells."""
    inside = [one for one in told if getattr(one, way) is not None]
    return sum(getattr(one, way) for one in inside), sum(one.took for one in inside), sum(one.jobs for one in inside)


def verdict(told: list[Foretold], *, way: str, name: str) -> str:
    """Whether what one way tells is close to what was."""
    predicted, took, jobs = _sum(told, way=way)
    if not jobs:
        return f"By {name}: nothing is known of these jobs."
    ratio = predicted / took
    close = "within" if abs(ratio - 1) <= GOOD else "NOT within"
    return (
        f"By {name}: {predicted:.4f} process-hours foretold, {took:.4f} taken by {jobs} jobs: ratio {ratio:.2f}, "
        f"{close} ±{GOOD:.0%}."
    )
