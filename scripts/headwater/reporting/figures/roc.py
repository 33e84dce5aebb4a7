"""ROC: how many are found for how many false alarms, a curve for each source."""

import math

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from headwater.data.tables import MACRO
from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import COLOURS, DASHES, LOOK, RULE, as_svg, as_title, behind, colours_of
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

COLUMNS = 4
"""Panels side by side."""


CARD = FigureCard(
    section="datasets",
    place=40,
    title="ROC curves",
    caption="ROC curves on the test cases: the mean true positive rate over seeds, in the macro panel also over its "
    "labels.",
)


def make(study: StudyResults) -> dict[str, str]:
    """The curves of each dataset that has any."""
    svgs = {}
    for dataset in study.grid.datasets:
        curves, rows = (part[part["dataset"] == dataset.name] for part in (study.curves, study.comparisons))
        panels = panels_of(rows, curves, grid=study.grid)
        if panels:
            svgs[dataset.name] = drawn(curves, panels=panels, colours=colours_of(study.grid))
    return svgs


def panels_of(rows: pd.DataFrame, curves: pd.DataFrame, *, grid: Grid) -> list[tuple[str, str, list[str]]]:
    """(title, recipe, labels) of each ROC panel: the macro over the tested labels first, then label by label."""
    panels = []
    labels = [label for label in rows["label"].unique() if label in set(curves["label"])]
    tested = [label for label in labels if rows.loc[rows["label"] == label, "tested"].any()]
    for recipe in (recipe for recipe in grid.recipes if recipe.name in set(curves["recipe"])):
        title = behind(recipe.name, grid)
        if len(tested) > 1:
            panels.append((MACRO + title, recipe.name, tested))
        panels += [(label + title, recipe.name, [label]) for label in labels]
    return panels


def drawn(curves: pd.DataFrame, *, panels: list[tuple[str, str, list[str]]], colours: dict[str, str]) -> str:
    """An SVG with one ROC panel for each (title, recipe, labels): a mean curve per source over seeds and labels."""
    rows = math.ceil(len(panels) / COLUMNS)
    with mpl.rc_context(LOOK | {"svg.hashsalt": "roc"}):
        figure = Figure(figsize=(2.35 * min(COLUMNS, len(panels)) + 0.3, 2.45 * rows + 0.5), layout="constrained")
        axes = figure.subplots(rows, min(COLUMNS, len(panels)), squeeze=False, sharex=True, sharey=True).ravel()
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        for (title, recipe, labels), ax in zip(panels, axes[: len(panels)], strict=True):
            shown = curves[(curves["recipe"] == recipe) & curves["label"].isin(labels)]
            _roc_panel(ax, shown, colours=colours)
            ax.set_title(as_title(title), fontsize=9, fontweight="bold", loc="left")
        figure.supxlabel("false positive rate", fontsize=9)
        figure.supylabel("true positive rate", fontsize=9)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside upper left", ncols=max(2, len(panels[:COLUMNS]) * 5 // 4), frameon=False
        )
        return as_svg(figure)


def _roc_panel(ax: mpl.axes.Axes, curves: pd.DataFrame, *, colours: dict[str, str]) -> None:
    """One mean curve over the line of chance for each source that has any."""
    ax.plot([0, 1], [0, 1], color=RULE, linewidth=0.8)
    ax.set(xlim=(0, 1), ylim=(0, 1.005), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
    for position, (source, colour) in enumerate(colours.items()):
        of_source = curves[curves["source"] == source]
        if of_source.empty:
            continue
        false, true = mean_curve(of_source)
        dashes = DASHES[position // len(COLOURS) % len(DASHES)]
        ax.plot(false, true, color=colour, linewidth=1.3, linestyle=dashes, label=source)


def mean_curve(curves: pd.DataFrame, *, points: int = 101) -> tuple[np.ndarray, np.ndarray]:
    """The mean true positive rate of several ROC curves at `points` even false positive rates."""
    false = np.linspace(0, 1, points)
    rates = [
        np.interp(false, curve["false_positive_rate"], curve["true_positive_rate"])
        for _, curve in curves.groupby(["seed", "label"])
    ]
    return np.insert(false, 0, 0.0), np.insert(np.mean(rates, axis=0), 0, 0.0)
