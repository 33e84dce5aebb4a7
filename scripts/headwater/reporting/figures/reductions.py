"""Reductions: what networks come to by the share of a corpus that their pre-training saw."""

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from headwater.reporting import formatting, reduction_results
from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import LOOK, RULE, Drawing, behind, palette, paper
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

MARKS = "osD^vP*X<>"
"""A mark for each way of reducing."""


CARD = FigureCard(
    section="reductions",
    place=100,
    title="By the share of the corpus that is kept",
    caption="Macro by the share of the corpus that is kept, with its interval; horizontal lines are sources that "
    "learned from no corpus here. To the right, where several distances were tried, by the bits in which hashes may "
    "differ.",
    when="reduced",
)


def make(study: StudyResults) -> dict[str, Drawing]:
    """A figure for each dataset that has a number."""
    measured = reduction_results.measured(study.comparisons, study.costs, grid=study.grid).exact
    values = measured.assign(**reduction_results.arms(measured["source"], grid=study.grid))
    by_dataset = {dataset.name: values[values["dataset"] == dataset.name] for dataset in study.grid.datasets}
    return {name: drawn(part, grid=study.grid) for name, part in by_dataset.items() if part["value"].notna().any()}


def drawn(values: pd.DataFrame, *, grid: Grid) -> Drawing:
    """A drawing for one dataset, a row for each metric and recipe: by the share kept, and by the distance of hashes.

    `values` are the measured sources (share empty for those that learned from no corpus) with the columns `arm`, what
    they share but the reduction; `way`, the name of its plug-in; and `distance`, of hashes, else empty.
    """
    panels = list(dict.fromkeys(zip(values["metric"], values["recipe"], strict=True)))
    swept = len(set(values["distance"].dropna())) > 1
    titles = formatting.titles(grid)
    # the ticks of a logarithmic axis are formulas; no word of this figure holds a $
    with mpl.rc_context(LOOK | {"svg.hashsalt": "reductions", "text.parse_math": True}):
        figure = paper(7.4, 3.2 * len(panels))
        axes = figure.subplots(len(panels), 1 + swept, squeeze=False)
        for (metric, recipe), row in zip(panels, axes, strict=True):
            part = values[(values["metric"] == metric) & (values["recipe"] == recipe)]
            _panel(row[0], part, by="share", grid=grid)
            row[0].set_xscale("log")
            row[0].set_xlabel("share of the corpus that is kept")
            row[0].set_title(titles[metric] + behind(recipe, grid), fontsize=8, fontweight="bold", loc="left")
            if swept:
                _panel(row[1], part[part["distance"].notna()], by="distance", grid=grid)
                row[1].set_xlabel("bits in which hashes may differ")
        axes[0, 0].legend(fontsize=7, frameon=False)
        return Drawing(figure)


def _panel(ax: Axes, values: pd.DataFrame, *, by: str, grid: Grid) -> None:
    """One panel: a line for each arm, a mark for each way of reducing, and levels of what learned from no corpus."""
    learned = values[values["share"].notna()]
    colours = palette(sorted(set(learned["arm"])))
    marks = {way: MARKS[position % len(MARKS)] for position, way in enumerate(sorted(set(learned["way"])))}
    for arm, of_arm in learned.sort_values(by).groupby("arm"):
        if by == "distance":
            ax.plot(of_arm[by], of_arm["value"], color=colours[arm], linewidth=1.0, zorder=2)
        for way, part in of_arm.groupby("way"):
            # an interval can miss its value by a rounding
            low = (part["value"] - part["value_low"]).clip(lower=0)
            high = (part["value_high"] - part["value"]).clip(lower=0)
            look = {
                "color": colours[arm],
                "marker": marks[way],
                "linestyle": "none",
                "markersize": 4.5,
                "linewidth": 0.8,
            }
            ax.errorbar(part[by], part["value"], yerr=[low, high], label=f"{arm}: {way}", **look)
    for row in values[values["share"].isna()].itertuples():
        ax.axhline(row.value, color=RULE, zorder=1)
        ax.annotate(
            grid.wording.short("sources", row.source),
            (0.01, row.value),
            xycoords=("axes fraction", "data"),
            fontsize=7,
            va="bottom",
        )
