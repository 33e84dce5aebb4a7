"""Replicates: how the macro difference of each pair comes out when patients and seeds are drawn anew."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from headwater.data.tables import MACRO
from headwater.reporting import formatting
from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import INK, LOOK, Drawing, behind, colours_of, paper
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

BINS = 60

NARROWEST = 1e-9
"""What spreads less is one number but for rounding, and has no distribution."""


CARD = FigureCard(
    section="datasets",
    place=60,
    title="Resampled differences",
    caption="Macro differences with patients and seeds resampled, over the line of no difference; below, the "
    "difference and its interval.",
)


def make(study: StudyResults) -> dict[str, Drawing]:
    """The macro differences of each dataset that has any."""
    rows, drawings = study.comparisons, {}
    pairs = rows[rows["difference"].notna() & (rows["label"] == MACRO)]
    for dataset in study.grid.datasets:
        compared, resampled = (part[part["dataset"] == dataset.name] for part in (pairs, study.replicates))
        # datasets in folds have differences, but no replicates
        if len(compared) and len(resampled):
            drawings[dataset.name] = drawn(compared, resampled, colours=colours_of(study.grid), grid=study.grid)
    return drawings


def drawn(rows: pd.DataFrame, replicates: pd.DataFrame, *, colours: dict[str, str], grid: Grid) -> Drawing:
    """A drawing with a column for each metric and recipe and a panel for each pair of one dataset.

    `rows` are the dataset's macro differences. Below each distribution lie the difference and its interval.
    """
    columns = list(dict.fromkeys(zip(rows["metric"], rows["recipe"], strict=True)))
    pairs = list(dict.fromkeys(zip(rows["source"], rows["reference"], strict=True)))
    of_pair = dict(iter(replicates.groupby(["metric", "recipe", "source", "reference"])))
    titles = formatting.headings(grid)
    with mpl.rc_context(LOOK | {"svg.hashsalt": "replicates"}):
        figure = paper(1.6 + 3.4 * len(columns), 0.5 + 1.05 * len(pairs))
        axes = figure.subplots(len(pairs), len(columns), squeeze=False, sharex="col")
        for ax in axes.ravel():
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
        for row in rows.itertuples():
            at = columns.index((row.metric, row.recipe))
            ax = axes[pairs.index((row.source, row.reference)), at]
            found = of_pair.get((row.metric, row.recipe, row.source, row.reference))
            _panel(ax, row, np.array([]) if found is None else found["difference"].dropna().to_numpy(), colours, grid)
        for (metric, recipe), ax in zip(columns, axes[0], strict=True):
            above = titles[metric] + behind(recipe, grid)
            ax.annotate(above, (0, 1.3), xycoords="axes fraction", fontsize=8, fontweight="bold")
        for ax in axes[-1]:
            ax.set_xlabel("difference")
        return Drawing(figure)


def _panel(ax: Axes, row: Any, differences: np.ndarray, colours: dict[str, str], grid: Grid) -> None:
    """The replicates of one pair, scaled to a height of 1."""
    colour = colours[row.source]
    if differences.size and np.ptp(differences) > NARROWEST:
        counts, edges = np.histogram(differences, bins=BINS)
        ax.stairs(counts / counts.max(), edges, fill=True, color=colour, alpha=0.35)
        ax.stairs(counts / counts.max(), edges, color=colour, linewidth=0.8)
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.plot([row.difference_low, row.difference_high], [-0.16] * 2, color=colour, linewidth=1.6, solid_capstyle="butt")
    ax.plot([row.difference], [-0.16], "o", color=colour, markersize=4.5)
    ax.set_ylim(-0.3, 1.05)
    called = grid.wording.short
    title = f"{called('sources', row.source)} − {called('sources', row.reference)}"
    ax.set_title(title, fontsize=8, loc="left")
