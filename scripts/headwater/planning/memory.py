"""Memory: what GPU memory a step of each kind of training takes, and what makes it fit into GPUs of any size."""

import sys
import textwrap
from pathlib import Path

import pandas as pd

from headwater.core import files, text
from headwater.core.errors import UserError
from headwater.core.progress import bar
from headwater.planning import memory_forecast, preflight, timing_profile
from headwater.planning.memory_forecast import GB, Forecast, MemoryProfile
from headwater.study import config as study_config
from headwater.study.config import Config
from headwater.study.paths import history
from headwater.study.step_memory import SPARE
from headwater.training.trackers import csv

GPUS = (24.0, 40.0, 80.0)
"""Sizes of usual GPUs in GB."""

WIDTH = 120


def memory(config: Path, *, gpus: list[float] | None = None, folder: Path = Path()) -> None:
    """Show what GPU memory a step of each kind of training takes, and in how many parts its batch fits.

    It needs no GPU: the CPU takes a real step of each real network on two small batches of noise, and counts what it
    keeps. Writes the study's memory profile, RESULTS/memory.json, by which plans warn of what does not fit.

    Args:
        config: Config file of the study.
        gpus: Sizes of GPUs in GB; by default that of the config's compute.gpu_memory, or 24, 40 and 80.
        folder: Folder where Snakemake is started.
    """
    plan = study_config.read(config)
    sizes = gpus or ([plan.compute.gpu_memory] if plan.compute.gpu_memory else list(GPUS))
    if min(sizes) <= 0:
        raise UserError(f"--gpus must be > 0 (got {min(sizes):g})", remedy="give sizes in GB, such as 24 80")
    preflight.check(plan)
    profile = measured(plan)
    files.write_json(profile.model_dump(), memory_forecast.file_of(plan, folder=folder))
    forecasts = memory_forecast.forecasts(plan, folder=folder)
    if not forecasts:
        raise UserError("the study trains nothing", file=config, remedy="add a recipe, or a source with a method")
    print(text.as_text(as_table(forecasts, gpus=sizes)), end="\n\n")
    print(textwrap.fill(explained(), width=WIDTH))


def measured(plan: Config) -> MemoryProfile:
    """What a step of each kind of training of a study takes, measured on this machine's CPU."""
    # not at the top: it needs torch, and plans do without
    from headwater.planning import rehearse

    rehearsals = {rehearsal.key: rehearsal for _, rehearsal in timing_profile.trainings(plan)}
    return MemoryProfile(
        trainings={
            key: rehearse.memory_of(rehearsal)
            for key, rehearsal in bar(rehearsals.items(), total=len(rehearsals), what="measuring")
        }
    )


def as_table(forecasts: list[Forecast], *, gpus: list[float]) -> pd.DataFrame:
    """One row per kind of training: what takes how many GB, and for each GPU the parts in which its batch fits."""
    return pd.DataFrame([_row(forecast, gpus=gpus) for forecast in forecasts])


def _row(forecast: Forecast, *, gpus: list[float]) -> dict[str, str]:
    step, parts = forecast.step, forecast.rehearsal.training.accumulate
    fixed = {"Weights": step.weights, "Gradients": step.gradients, "Moments": step.moments}
    taken = fixed | {"Activations": forecast.bytes - sum(fixed.values()), "GB": forecast.bytes}
    return {
        "Rule": forecast.rule,
        "Of": forecast.of,
        "Images": str(forecast.rehearsal.share),
        "Parts": str(parts),
        **{name: f"{size / GB:.2f}" for name, size in taken.items()},
        **{f"Parts on {gpu:g} GB": _parts(forecast, int(gpu * GB)) for gpu in gpus},
    }


def _parts(forecast: Forecast, memory: int) -> str:
    """The fewest parts that fit into so many bytes, with what a step then takes."""
    parts = forecast.parts(memory)
    return text.NONE if parts is None else f"{parts} ({forecast.needed(parts) / GB:.1f})"


def beside_actual(plan: Config, *, folder: Path) -> pd.DataFrame:
    """One row per kind of finished training on GPUs that was forecast: both memories in GB, and their ratio."""
    forecasts = {(each.rule, each.of): each for each in memory_forecast.forecasts(plan, folder=folder)}
    allocated: dict[tuple[str, str], list[float]] = {}
    for job, _ in timing_profile.trainings(plan) if forecasts else ():
        curves = Path(history(job.product)) if job.rule == "pretrain" else Path(job.product).parent
        if (folder / job.product).is_file() and (most := _allocated(folder / curves)):
            allocated.setdefault((job.rule, job.kind), []).append(most)
    rows = []
    for kind, each in allocated.items():
        if kind in forecasts:
            expected, actual = forecasts[kind].bytes / GB, max(each)
            named = {"Rule": kind[0], "Of": kind[1], "Jobs": str(len(each))}
            values = {"Forecast GB": f"{expected:.2f}", "Allocated GB": f"{actual:.2f}"}
            rows.append({**named, **values, "Ratio": f"{expected / actual:.2f}"})
    return pd.DataFrame(rows)


def _allocated(curves: Path) -> float:
    """The most GB of a GPU that a training had allocated at once, by its table of the machine; 0 without a GPU."""
    values = (of for _, of in csv.read(curves, up_to=sys.maxsize, table=csv.MACHINE))
    return max((of.get(csv.GPU_MEMORY, 0.0) for of in values), default=0.0) * 2**30 / GB


def explained() -> str:
    """What the numbers of the table are, in sentences."""
    return (
        "Images are those of one process in a batch; parts are what training.accumulate says. On GPUs of each size: the"
        f" fewest parts that fit with {SPARE:.0%} left free, and the GB that they take; {text.NONE} where there are"
        " none, or the method needs its batch at once with this network. GB are 10^9 bytes. Activations include views"
        " of the images, and what several processes send to each other. They are those that a CPU keeps, in bf16 unless"
        " precision is fp32."
    )
