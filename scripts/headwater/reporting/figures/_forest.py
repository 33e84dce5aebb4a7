"""Forest plots: differences with their intervals, a line each."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from headwater.reporting import formatting
from headwater.reporting.drawing import INK, LOOK, as_svg, behind, colours_of, growth
from headwater.study.grid import Grid


def of_pairs(pairs: pd.DataFrame, *, by: str, grid: Grid) -> str:
    """The forest of some comparisons, one group for each value of the column `by`; nothing for none."""
    if pairs.empty:
        return ""
    titles = formatting.headings(grid)
    group = {"dataset": formatting.dataset_of, "label": formatting.label_of}[by]
    one = grid.comparing.reference if isinstance(grid.comparing.reference, str) else None
    marks = pd.DataFrame(
        {
            "panel": [titles[row.metric] + behind(row.recipe, grid) for row in pairs.itertuples()],
            "group": [group(row) for row in pairs.itertuples()],
            "name": [
                row.source if row.reference == one else f"{row.source} − {row.reference}" for row in pairs.itertuples()
            ],
            "source": pairs["source"],
            "difference": pairs["difference"],
            "low": pairs["difference_low"],
            "high": pairs["difference_high"],
            "significant": pairs["significant"],
        }
    )
    against = f"difference from {one}" if one else "difference"
    covers = f"{100 * (1 - grid.comparing.level):g}% CI"
    return drawn(marks, colours=colours_of(grid), xlabel=f"{against}, {covers}")


def drawn(rows: pd.DataFrame, *, colours: dict[str, str], xlabel: str) -> str:
    """An SVG with one line per row: its difference, its interval, the line of no difference.

    Columns of `rows`: panel, group, name, source, difference, low, high, significant; groups stand below each other,
    panels side by side. A filled mark is significant after correction, a hollow one is not.
    """
    panels = list(dict.fromkeys(rows["panel"]))
    lines = _lines(rows)
    with mpl.rc_context(LOOK | {"svg.hashsalt": "forest"}):
        width = 4.2 + 3.6 * len(panels) + growth(group if name is None else name for group, name in lines)
        figure = Figure(figsize=(width, 0.9 + 0.21 * len(lines)), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, ax in zip(panels, axes, strict=True):
            _forest_panel(ax, rows[rows["panel"] == panel], lines=lines, colours=colours)
            ax.set_title(panel, fontsize=9, fontweight="bold", loc="left")
            ax.set_xlabel(xlabel)
        axes[0].set_yticks(range(len(lines)), [group if name is None else name for group, name in lines])
        for (_, name), tick in zip(lines, axes[0].get_yticklabels(), strict=True):
            tick.set_fontweight("bold" if name is None else "normal")
        axes[0].set_ylim(len(lines) - 0.4, -0.6)
        return as_svg(figure)


def _lines(rows: pd.DataFrame) -> list[tuple[str, str | None]]:
    """From top to bottom (group, name); a group's heading has no name."""
    lines: list[tuple[str, str | None]] = []
    for group, inside in rows.groupby("group", sort=False):
        lines += [(str(group), None), *((str(group), name) for name in dict.fromkeys(inside["name"]))]
    return lines


def _forest_panel(ax: mpl.axes.Axes, rows: pd.DataFrame, *, lines: list, colours: dict[str, str]) -> None:
    """The marks and intervals of one panel."""
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    for row in rows.itertuples():
        y, colour = lines.index((row.group, row.name)), colours[row.source]
        ax.plot([row.low, row.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
        face = colour if row.significant else "white"
        ax.plot([row.difference], [y], "o", markersize=5.5, color=colour, markerfacecolor=face, markeredgewidth=1.3)
