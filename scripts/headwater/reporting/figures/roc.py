"""ROC: how many are found for how many false alarms, a curve for each source."""

import math
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from headwater.data.tables import MACRO
from headwater.reporting import formatting, pivot
from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import DASHES, LOOK, RULE, Drawing, as_title, behind, colours_of, paper
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

COLUMNS = 3
"""Panels side by side."""

AREA = "auroc"
"""The metric that the legend gives."""

CARD = FigureCard(
    section="datasets",
    place=40,
    title="ROC curves",
    caption="ROC curves on the test cases: the mean true positive rate over seeds, in the macro panel also over its "
    "labels. Below each panel, the AUROC of each source with its interval where AUROC is a metric of the study; labels "
    "that are described only have no interval.",
)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel: a label, or the macro over several."""

    title: str
    recipe: str
    labels: tuple[str, ...]
    legend: dict[str, str]
    """What the legend says of each source."""


def make(study: StudyResults) -> dict[str, Drawing]:
    """The curves of each dataset that has any."""
    drawings = {}
    for dataset in study.grid.datasets:
        curves, rows = (part[part["dataset"] == dataset.name] for part in (study.curves, study.comparisons))
        panels = panels_of(rows, curves, grid=study.grid)
        if panels:
            drawings[dataset.name] = drawn(curves, panels=panels, colours=colours_of(study.grid))
    return drawings


def panels_of(rows: pd.DataFrame, curves: pd.DataFrame, *, grid: Grid) -> list[Panel]:
    """The panels of a dataset: the macro over the tested labels first, then label by label."""
    panels = []
    labels = [label for label in rows["label"].unique() if label in set(curves["label"])]
    tested = [label for label in labels if rows.loc[rows["label"] == label, "tested"].any()]
    for recipe in (recipe for recipe in grid.recipes if recipe.name in set(curves["recipe"])):
        of_recipe = rows[rows["recipe"] == recipe.name]
        drawn_labels = [(MACRO, tuple(tested))] * (len(tested) > 1) + [(label, (label,)) for label in labels]
        panels += [
            Panel(
                title=grid.wording.short("labels", name) + behind(recipe.name, grid),
                recipe=recipe.name,
                labels=inside,
                legend=_legend(list(of_recipe[of_recipe["label"] == name].itertuples()), grid),
            )
            for name, inside in drawn_labels
        ]
    return panels


def _legend(rows: list[Any], grid: Grid) -> dict[str, str]:
    """Each source with its AUROC and interval, if the study measures it."""
    said = {}
    line = [row for row in rows if row.metric == AREA]
    for source in (source.name for source in grid.sources):
        numbers = pivot.value_of(line, source)
        area = formatting.estimate(*(numbers[name] for name in ("value", "value_low", "value_high")))
        said[source] = grid.wording.short("sources", source) + (f" {area}" if not np.isnan(numbers["value"]) else "")
    return said


def drawn(curves: pd.DataFrame, *, panels: list[Panel], colours: dict[str, str]) -> Drawing:
    """A drawing with these panels: a mean curve per source over seeds and labels."""
    across = min(COLUMNS, len(panels))
    down = math.ceil(len(panels) / across)
    sources = curves["source"].nunique()
    with mpl.rc_context(LOOK | {"svg.hashsalt": "roc"}):
        figure = paper(2.4 * across, (2.3 + 0.14 * sources) * down + 0.3)
        axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        for panel, ax in zip(panels, axes[: len(panels)], strict=True):
            shown = curves[(curves["recipe"] == panel.recipe) & curves["label"].isin(panel.labels)]
            _roc_panel(ax, shown, colours=colours, legend=panel.legend)
            ax.set_title(as_title(panel.title), fontsize=8, fontweight="bold", loc="left")
        figure.supxlabel("false positive rate", fontsize=8)
        figure.supylabel("true positive rate", fontsize=8)
        return Drawing(figure)


def _roc_panel(ax: mpl.axes.Axes, curves: pd.DataFrame, *, colours: dict[str, str], legend: dict[str, str]) -> None:
    """One mean curve over the line of chance for each source that has any; each has a way of drawing of its own."""
    ax.plot([0, 1], [0, 1], color=RULE, linewidth=0.8)
    ax.set(xlim=(0, 1), ylim=(0, 1.005), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
    ax.tick_params(labelbottom=True)
    for position, (source, colour) in enumerate(colours.items()):
        of_source = curves[curves["source"] == source]
        if of_source.empty:
            continue
        false, true = mean_curve(of_source)
        ax.plot(
            false, true, color=colour, linewidth=1.3, linestyle=DASHES[position % len(DASHES)], label=legend[source]
        )
    ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.12), fontsize=6.5, frameon=False, handlelength=3.4, borderaxespad=0
    )


def mean_curve(curves: pd.DataFrame, *, points: int = 101) -> tuple[np.ndarray, np.ndarray]:
    """The mean true positive rate of several ROC curves at `points` even false positive rates."""
    false = np.linspace(0, 1, points)
    rates = [
        np.interp(false, curve["false_positive_rate"], curve["true_positive_rate"])
        for _, curve in curves.groupby(["seed", "label"])
    ]
    return np.insert(false, 0, 0.0), np.insert(np.mean(rates, axis=0), 0, 0.0)
