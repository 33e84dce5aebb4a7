"""Estimate versus actual: estimated process-hours beside those that finished jobs took."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from headwater.core import text
from headwater.core.errors import UserError
from headwater.planning import cost, memory, runtime_estimate, timing_profile
from headwater.planning.runtime_estimate import Estimate
from headwater.study import config as study_config
from headwater.study.config import Config
from headwater.study.jobs import Job

TOLERANCE = 0.25
"""Relative error up to which an estimate counts as good."""

ESTIMATES = {"by_others": "other seeds", "by_profile": "timing profile"}
"""The two estimates of a job, and what they are made from."""


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """Held-out finished jobs of one kind: their number, actual process-hours, and both estimates of these."""

    rule: str
    of: str
    jobs: int
    actual: float
    by_others: float | None
    by_profile: float | None


def compare(config: Path, *, held_out: list[int] | None = None, folder: Path = Path()) -> None:
    """Set estimates beside the actual process-hours of finished training jobs, and say whether they are within 25 %.

    The jobs of the held-out seeds are estimated twice: from finished jobs of the other seeds, and from the timing
    profile. Where trainings on GPUs have finished, the memory that they allocated stands beside its forecast.

    Args:
        config: Config file of the study.
        held_out: Seeds whose runs are estimated from those of the others; by default the later half of the seeds.
        folder: Folder where Snakemake was started.
    """
    plan = study_config.read(config)
    seeds = list(held_out) if held_out else sorted(plan.seeds)[(len(plan.seeds) + 1) // 2 :]
    if unknown := sorted(set(seeds) - set(plan.seeds)):
        listed = ", ".join(map(str, unknown))
        raise UserError(f"--held-out: the study has no seed {listed}", remedy=f"choose from {list(plan.seeds)}")
    runtimes = runtime_estimate.estimated(plan, folder=folder)
    estimates = estimated(plan, runtimes, seeds=seeds, folder=folder)
    if not estimates:
        raise UserError("no training job of the study has finished", file=config, remedy="run some of it first")
    print(f"Process-hours of finished jobs. Held out: seeds {', '.join(map(str, seeds))} and all pre-trainings.\n")
    print(text.as_text(as_table(estimates)), end="\n\n")
    for way in ESTIMATES:
        print(textwrap.fill(verdict(estimates, way=way), width=120))
    compared = memory.beside_actual(plan, folder=folder)
    if len(compared):
        print(f"\nMemory of GPUs, forecast for a step and allocated in all.\n\n{text.as_text(compared)}")


def estimated(plan: Config, runtimes: Estimate, *, seeds: list[int], folder: Path) -> list[Estimated]:
    """The held-out finished training jobs by kind, with estimates from the other finished jobs and the profile."""
    measured = [job for job in runtimes.jobs if job.ranks and runtimes.finished.get(job.product) is not None]
    # one prediction job serves all seeds, so it is held out only if all of them are; pre-trainings, without runs, are
    held_out = [job for job in measured if all(run.seed in seeds for run in job.runs)]
    others = [job for job in measured if not all(run.seed in seeds for run in job.runs)]
    each = runtime_estimate.means(others, runtimes.finished)
    profile = timing_profile.read(plan, folder=folder)
    jobs_of: dict[runtime_estimate.Kind, list[Job]] = {}
    for job in held_out:
        jobs_of.setdefault(runtime_estimate.kind_of(job), []).append(job)
    rows = []
    for kind, jobs in jobs_of.items():
        hours = len(jobs) * jobs[0].ranks / 3600
        seconds = timing_profile.job_seconds(jobs[0], plan=plan, profile=profile, folder=folder) if profile else None
        rows.append(
            Estimated(
                rule=kind[0],
                of=kind[1],
                jobs=len(jobs),
                actual=sum(runtimes.finished[job.product] * job.ranks for job in jobs) / 3600,
                by_others=each[kind] * hours if kind in each else None,
                by_profile=None if seconds is None else seconds * hours,
            )
        )
    return rows


def as_table(estimates: list[Estimated]) -> pd.DataFrame:
    """One row per kind, and for each estimate a sum over the kinds that it covers."""
    rows = [_row(kind.rule, kind.of, kind.jobs, kind.actual, kind.by_others, kind.by_profile) for kind in estimates]
    for way, made_from in ESTIMATES.items():
        predicted, actual, jobs = _sum(estimates, way=way)
        if jobs:
            # compare each sum with the actual hours of the same kinds
            by_others, by_profile = (predicted if way == column else None for column in ESTIMATES)
            rows.append(_row("total", f"estimated from {made_from}", jobs, actual, by_others, by_profile))
    return pd.DataFrame(rows)


def _row(
    rule: str, of: str, jobs: int, actual: float, by_others: float | None, by_profile: float | None
) -> dict[str, str]:
    return {
        "Rule": rule,
        "Of": of,
        "Jobs": str(jobs),
        "Actual": f"{actual:.4f}",
        "From other seeds": cost.number(by_others, "{:.4f}"),
        "Ratio": cost.number(None if by_others is None else by_others / actual, "{:.2f}"),
        "From profile": cost.number(by_profile, "{:.4f}"),
        "Ratio ": cost.number(None if by_profile is None else by_profile / actual, "{:.2f}"),
    }


def _sum(estimates: list[Estimated], *, way: str) -> tuple[float, float, int]:
    """(estimated process-hours, actual ones, jobs) over the kinds that have this estimate."""
    kinds = [kind for kind in estimates if getattr(kind, way) is not None]
    return (
        sum(getattr(kind, way) for kind in kinds),
        sum(kind.actual for kind in kinds),
        sum(kind.jobs for kind in kinds),
    )


def verdict(estimates: list[Estimated], *, way: str) -> str:
    """Whether one of the estimates is close to the actual process-hours."""
    predicted, actual, jobs = _sum(estimates, way=way)
    if not jobs:
        return f"Estimate from {ESTIMATES[way]}: none for these jobs."
    ratio = predicted / actual
    close = "within" if abs(ratio - 1) <= TOLERANCE else "NOT within"
    return (
        f"Estimate from {ESTIMATES[way]}: {predicted:.4f} process-hours, actual {actual:.4f} "
        f"({text.many(jobs, 'job')}): ratio {ratio:.2f}, {close} ±{TOLERANCE:.0%}."
    )
