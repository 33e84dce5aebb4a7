"""Forest plots: differences with their intervals, a line each, and the numbers beside them."""

import textwrap
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from headwater.reporting import formatting
from headwater.reporting.drawing import INK, LOOK, WIDE, Drawing, behind, colours_of, paper
from headwater.study.grid import Grid

LINE = 0.19
"""Inches of a line."""

LONGEST = 44
"""Characters of a name on one line."""

AROUND = 0.06
"""What an axis has beyond its outermost intervals, as a share of their range."""


def of_pairs(pairs: pd.DataFrame, *, by: str, grid: Grid) -> Drawing:
    """The forest of some comparisons, one group for each value of the column `by`."""
    titles = formatting.headings(grid)
    group = {"dataset": formatting.dataset_of, "label": formatting.label_of}[by]
    one = grid.comparing.reference if isinstance(grid.comparing.reference, str) else None
    marks = pd.DataFrame(
        {
            "panel": [titles[row.metric] + behind(row.recipe, grid) for row in pairs.itertuples()],
            "group": [group(row, grid, short=True) for row in pairs.itertuples()],
            "name": [_name(row, one, grid) for row in pairs.itertuples()],
            "source": pairs["source"],
            "difference": pairs["difference"],
            "low": pairs["difference_low"],
            "high": pairs["difference_high"],
            "numbers": [numbers_of(row) for row in pairs.itertuples()],
            "tested": pairs["tested"],
            "significant": pairs["significant"],
        }
    )
    against = f"difference from {grid.wording.short('sources', one)}" if one else "difference"
    return drawn(marks, colours=colours_of(grid), xlabel=against, covers=formatting.covers(grid))


def _name(row: Any, one: str | None, grid: Grid) -> str:
    """A pair, or its source alone where all are compared with one reference."""
    source = grid.wording.short("sources", row.source)
    return source if row.reference == one else f"{source} − {grid.wording.short('sources', row.reference)}"


def numbers_of(row: Any) -> str:
    """The difference of a row with its interval, as it stands beside its mark."""
    ends = row.difference_low, row.difference_high
    written = formatting.estimate(row.difference, *ends, sign="+", digits=formatting.digits(row.metric))
    return written + (" *" if getattr(row, "significant", False) else "")


def drawn(rows: pd.DataFrame, *, colours: dict[str, str], xlabel: str, covers: str) -> Drawing:
    """A drawing with one line per row: its difference, its interval, the line of no difference, and its numbers.

    Columns of `rows`: panel, group, name, source, difference, low, high, numbers, tested, significant; groups and
    panels stand below each other. A filled mark is significant after correction, a hollow one is not; one without an
    interval is described only. Tested rows set the axis: what lies beyond it is an arrow at its end.
    """
    parts = [part for _, part in rows.groupby("panel", sort=False)]
    lines = [_lines(part) for part in parts]
    heights = [sum(deep for *_, deep in of_panel) for of_panel in lines]
    with mpl.rc_context(LOOK | {"svg.hashsalt": "forest"}):
        figure = paper(WIDE, sum(LINE * height + 0.75 for height in heights))
        axes = figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
        for part, of_panel, ax in zip(parts, lines, axes, strict=True):
            _panel(ax, part, lines=of_panel, colours=colours)
            ax.set_title(part["panel"].iloc[0], fontsize=8, fontweight="bold", loc="left")
            ax.text(1.02, 1.0, f"difference {covers}", transform=ax.transAxes, va="bottom", fontsize=7)
            ax.set_xlabel(xlabel)
        return Drawing(figure)


def _lines(rows: pd.DataFrame) -> list[tuple[str, str | None, str, int]]:
    """From top to bottom (group, name, as it is written, lines that this takes); a group's heading has no name."""
    lines: list[tuple[str, str | None, str, int]] = []
    for group, inside in rows.groupby("group", sort=False):
        for name in (None, *dict.fromkeys(inside["name"])):
            written = textwrap.wrap(str(group) if name is None else name, LONGEST) or [""]
            lines.append((str(group), name, "\n".join(written), len(written)))
    return lines


def _panel(ax: Axes, rows: pd.DataFrame, *, lines: list, colours: dict[str, str]) -> None:
    """The marks, intervals and numbers of one panel."""
    places, depth = {}, 0.0
    for group, name, _, deep in lines:
        places[group, name] = depth + deep / 2
        depth += deep
    ax.set_yticks(list(places.values()), [written for *_, written, _ in lines])
    for (_, name), tick in zip(places, ax.get_yticklabels(), strict=True):
        tick.set_fontweight("bold" if name is None else "normal")
    ax.set_ylim(depth, 0)
    ax.set_xlim(*limits(rows))
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    for row in rows.itertuples():
        _mark(ax, row, y=places[row.group, row.name], colour=colours[row.source])


def limits(rows: pd.DataFrame) -> tuple[float, float]:
    """The ends of an axis: around zero and the intervals of tested rows; without any, around all differences."""
    tested = rows[rows["tested"]]
    ends = tested[["difference", "low", "high"]] if len(tested) else rows[["difference"]]
    least, most = min(0.0, ends.min().min()), max(0.0, ends.max().max())
    around = AROUND * (most - least) or 1.0
    return least - around, most + around


def _mark(ax: Axes, row: Any, *, y: float, colour: str) -> None:
    """The mark, interval and numbers of one row."""
    least, most = ax.get_xlim()
    face = colour if row.significant else "white"
    beyond = "<" if row.difference < least else ">" if row.difference > most else ""
    at = min(max(row.difference, least), most)
    ax.plot([row.low, row.high], [y, y], color=colour, linewidth=1.4, solid_capstyle="butt")
    look = {"markersize": 5, "color": colour, "markerfacecolor": face, "markeredgewidth": 1.2, "clip_on": False}
    ax.plot([at], [y], beyond or "o", zorder=3, **look)
    ax.text(1.02, y, row.numbers, transform=ax.get_yaxis_transform(), va="center", fontsize=7)
