"""Reliability: how often a finding is there, against how often the scores promise it, a curve for each source."""

import math

import matplotlib as mpl
import pandas as pd

from headwater.evaluation.seed_groups import RAW, SCALED
from headwater.reporting import diagnostics
from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import DASHES, LOOK, RULE, Drawing, as_title, behind, colours_of, paper
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

COLUMNS = 4
"""Panels side by side: the raw and the scaled scores of two labels."""

GAP = 0.5
"""Inches between two panels, for the numbers of an axis."""


CARD = FigureCard(
    section="datasets",
    when="examined",
    place=70,
    title="Predicted and observed shares",
    caption="Reliability on the test split: ten bins with about as many cases each, all seeds together; vertical lines "
    "are Wilson's intervals for the patients in a bin. On the diagonal, scores are true probabilities. Scaled: divided "
    "by the temperature chosen on the validation split.",
)


def make(study: StudyResults) -> dict[str, Drawing]:
    """The plots of each dataset that has any, of networks at home; controls are left out."""
    colours = {source.name: colours_of(study.grid)[source.name] for source in study.grid.sources if not source.control}
    points = diagnostics.ordered(study.reliability, study=study)
    points = points[points["source"].isin(list(colours)) & (points["fitted_to"] == points["dataset"])]
    drawings = {}
    for dataset in study.grid.datasets:
        panels = panels_of(points[points["dataset"] == dataset.name], grid=study.grid)
        if panels:
            drawings[dataset.name] = drawn(panels, colours=colours, grid=study.grid)
    return drawings


def panels_of(points: pd.DataFrame, *, grid: Grid) -> list[tuple[str, pd.DataFrame]]:
    """(title, points) of each panel: label by label as the points have them, raw scores beside scaled ones."""
    labels = list(dict.fromkeys(points["label"]))
    asked = [(recipe.name, label, kind) for recipe in grid.recipes for label in labels for kind in (RAW, SCALED)]
    panels = []
    for recipe, label, kind in asked:
        here = points[(points["recipe"] == recipe) & (points["label"] == label) & (points["scores"] == kind)]
        if not here.empty:
            panels.append((f"{grid.wording.short('labels', label)}, {kind}{behind(recipe, grid)}", here))
    return panels


def drawn(panels: list[tuple[str, pd.DataFrame]], *, colours: dict[str, str], grid: Grid) -> Drawing:
    """A drawing with one panel for each (title, points): a curve per source, with the intervals of its points."""
    across = min(COLUMNS, len(panels))
    down = math.ceil(len(panels) / across)
    with mpl.rc_context(LOOK | {"svg.hashsalt": "reliability"}):
        figure = paper(2.35 * across + 0.3, 1.95 * down + 0.5)
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        for (title, points), ax in zip(panels, axes[: len(panels)], strict=True):
            _panel(ax, points, colours=colours, grid=grid)
            title = as_title(title, inches=figure.get_figwidth() / across - GAP)
            ax.set_title(title, fontsize=8, fontweight="bold", loc="left")
        figure.supxlabel("mean predicted probability", fontsize=8)
        figure.supylabel("observed share", fontsize=8)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=max(2, across * 5 // 4), frameon=False)
        return Drawing(figure)


def _panel(ax: mpl.axes.Axes, points: pd.DataFrame, *, colours: dict[str, str], grid: Grid) -> None:
    """The curves of one panel over the line on which promises are kept; rare findings get a corner of their own."""
    furthest = min(1.0, 1.05 * max(points["predicted"].max(), points["high"].max()))
    ax.plot([0, 1], [0, 1], color=RULE, linewidth=0.8)
    ax.set(xlim=(0, furthest), ylim=(0, furthest), aspect="equal")
    ax.locator_params(nbins=4)
    for position, (source, colour) in enumerate(colours.items()):
        curve = points[points["source"] == source].sort_values("bin")
        if curve.empty:
            continue
        dashes = DASHES[position % len(DASHES)]
        ax.vlines(curve["predicted"], curve["low"], curve["high"], color=colour, linewidth=0.7, alpha=0.4)
        ax.plot(
            curve["predicted"],
            curve["observed"],
            color=colour,
            linewidth=1.2,
            linestyle=dashes,
            marker="o",
            markersize=2.5,
            label=grid.wording.short("sources", source),
        )
