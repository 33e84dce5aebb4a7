"""Training curves: what trainings measured step by step, drawn by source as a mean with a band over the seeds."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from headwater.reporting.drawing import DASHES, LOOK, NARROW, Drawing, as_title, behind, colours_of, paper
from headwater.study.grid import Grid
from headwater.study.paths import Paths, history
from headwater.training.trackers import csv, is_drawn

LOSS = "training/loss"

POINTS = 200
"""The most points of a line; of a longer training each is the mean of several."""

ROOM = 64
"""Characters of a legend that fit beside each other, with 6 for the mark of each name."""

COLUMNS = ("training", "source", "name", "step", "value")
"""`training` tells the lines apart that are averaged: the path of a run, or the source that is pre-trained."""

SPEED = "Images per second"

MEASURED = {
    "machine/images_per_second": SPEED,
    "machine/memory_gib": "Memory, GiB",
    "machine/gpu_memory_gib": "GPU memory, GiB",
    "machine/waiting": "Share of the time waiting for images",
}
"""What is measured of the machine, and what it is called."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A chart: its title and its rows, with the columns of `COLUMNS`."""

    title: str
    rows: pd.DataFrame


def of_dataset(grid: Grid, dataset: str, *, paths: Paths) -> list[Panel]:
    """The score that chooses the step, and the loss, of each recipe by which networks are fitted to a dataset."""
    panels = []
    for recipe in grid.recipes_of(dataset):
        runs = [run for run in grid.runs(dataset) if run.recipe.name == recipe.name]
        folders = {run.path: (run.source.name, Path(paths.run(run.path))) for run in runs}
        score = f"validation/{recipe.select}"
        found = _read(folders, names=(score, LOSS))
        for name in (score, LOSS):
            rows = found[found["name"] == name]
            if len(rows):
                words = name.replace("/", " ").replace("_", " ").replace("auroc", "AUROC")
                panels.append(Panel(title=f"{words}{behind(recipe.name, grid)}", rows=rows))
    return panels


def of_pretraining(grid: Grid, *, paths: Paths) -> list[Panel]:
    """The loss of each pre-training; a chart for each, as losses of different methods cannot be compared."""
    panels = []
    for source in grid.sources:
        if source.method:
            folder = Path(history(paths.encoder(source.name)))
            rows = _read({source.name: (source.name, folder)}, names=(LOSS,))
            if len(rows):
                panels.append(Panel(title=f"{grid.wording.short('sources', source.name)}, loss", rows=rows))
    return panels


def machine(folder: Path) -> dict[str, float]:
    """What a training's machine did: the mean speed, the most memory; empty before the first measurement."""
    of: dict[str, list[float]] = {}
    for _, values in csv.read(folder, up_to=sys.maxsize, table=csv.MACHINE):
        for name in MEASURED.keys() & values.keys():
            of.setdefault(MEASURED[name], []).append(values[name])
    return {name: together(name, each) for name, each in of.items()}


def together(name: str, values: list[float]) -> float:
    """Of speed the mean, of memory the most."""
    return float(np.mean(values)) if name == SPEED else max(values)


def _read(folders: dict[str, tuple[str, Path]], *, names: tuple[str, ...]) -> pd.DataFrame:
    """The rows of these names of all trainings, given as {training: (source, folder)}; of curves every tenth step."""
    return pd.DataFrame(_points(folders, names=names), columns=list(COLUMNS))


def _points(folders: dict[str, tuple[str, Path]], *, names: tuple[str, ...]) -> Iterator[tuple]:
    for training, (source, folder) in folders.items():
        for step, values in csv.read(folder, up_to=sys.maxsize):
            for name in names:
                if name in values and is_drawn(step, [name]):
                    yield training, source, name, step, values[name]


# drawing


def drawn(panel: Panel, *, grid: Grid, name: str) -> Drawing:
    """A line for each source: the mean of its trainings, in a band of one standard deviation; `name` is the SVG's."""
    with mpl.rc_context(LOOK | {"svg.hashsalt": name}):
        shown = [grid.wording.short("sources", source) for source in panel.rows["source"].unique()]
        # as many columns as the longest name leaves room for, and a line of the legend is a seventh of an inch
        across = max(1, min(3, ROOM // (max(map(len, shown)) + 6)))
        figure = paper(NARROW, 2.2 + -(-len(shown) // across) / 7)
        ax = figure.subplots()
        for position, (source, colour) in enumerate(colours_of(grid).items()):
            line = averaged(panel.rows[panel.rows["source"] == source])
            if line.empty:
                continue
            look = {"color": colour, "linestyle": DASHES[position % len(DASHES)], "linewidth": 1.2}
            marker = {"marker": "o", "markersize": 2.5} if len(line) < 12 else {}
            ax.plot(line["step"], line["mean"], label=grid.wording.short("sources", source), **look, **marker)
            ax.fill_between(line["step"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
        ax.set_title(as_title(panel.title), fontsize=8, fontweight="bold", loc="left")
        ax.set_xlabel("step")
        ax.grid(axis="y")
        ax.set_axisbelow(True)
        if len(ax.lines) > 1:
            figure.legend(loc="outside upper left", ncols=across, frameon=False, fontsize=7)
        return Drawing(figure)


def averaged(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and mean -+ one standard deviation over a source's trainings by step, in at most `POINTS` steps.

    Where a training has not come as far as another, the mean is that of those that have; of one training the band
    has no width.
    """
    if rows.empty:
        return pd.DataFrame(columns=["step", "mean", "low", "high"])
    each = rows.pivot_table(index="step", columns="training", values="value", aggfunc="last")
    steps = each.index.to_numpy()
    if len(steps) > POINTS:
        # groups of equally many steps; a group is shown at its last step
        group = np.arange(len(steps)) * POINTS // len(steps)
        each = each.groupby(group).mean()
        steps = pd.Series(steps).groupby(group).last().to_numpy()
    mean, spread = each.mean(axis=1).to_numpy(), each.std(axis=1, ddof=1).fillna(0.0).to_numpy()
    return pd.DataFrame({"step": steps, "mean": mean, "low": mean - spread, "high": mean + spread})
