"""Figures: differences between sources with their intervals, and ROC curves, drawn the same each time."""

import io
import math
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from headwater import tables
from headwater.formats import MACRO
from headwater.grid import Grid

INK, RULE = "#1b2430", "#c8ced8"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Okabe and Ito's colours, told apart by colour-blind readers, too."""
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))

LOOK = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
}

COLUMNS = 4
"""ROC panels side by side."""


def drawn(rows: pd.DataFrame, curves: pd.DataFrame, *, grid: Grid) -> dict[str, str]:
    """SVGs by name: the forest of all macros, and each dataset's forest and ROC curves, where there are any.

    `rows` are judged comparisons in reading order.
    """
    colours = palette([source.name for source in grid.sources])
    pairs = rows[rows["difference"].notna()]
    svgs = {"forest_macro": _forest_of(pairs[pairs["label"] == MACRO], by="dataset", grid=grid)}
    for dataset in grid.datasets:
        here = pairs[pairs["dataset"] == dataset.name]
        svgs[f"forest_{dataset.name}"] = _forest_of(here, by="label", grid=grid)
        of_dataset = curves[curves["dataset"] == dataset.name]
        panels = _roc_panels(rows[rows["dataset"] == dataset.name], of_dataset, grid=grid)
        svgs[f"roc_{dataset.name}"] = roc(of_dataset, panels=panels, colours=colours) if panels else ""
    return {name: svg for name, svg in svgs.items() if svg}


def _forest_of(pairs: pd.DataFrame, *, by: str, grid: Grid) -> str:
    """The forest of some judged comparisons, one group for each value of the column `by`; nothing for none."""
    if pairs.empty:
        return ""
    titles = tables.titles(grid)
    one = grid.comparing.reference
    marks = pd.DataFrame(
        {
            "panel": [titles[row.metric] + _behind(row.recipe, grid) for row in pairs.itertuples()],
            "group": pairs[by],
            "name": pairs["source"] if one else pairs["source"] + " − " + pairs["reference"],
            "source": pairs["source"],
            "difference": pairs["difference"],
            "low": pairs["difference_low"],
            "high": pairs["difference_high"],
            "significant": pairs["significant"],
        }
    )
    against = f"difference from {one}" if one else "difference"
    covers = f"{100 * (1 - grid.comparing.level):g}% CI"
    colours = palette([source.name for source in grid.sources])
    return forest(marks, colours=colours, xlabel=f"{against}, {covers}")


def _roc_panels(rows: pd.DataFrame, curves: pd.DataFrame, *, grid: Grid) -> list[tuple[str, str, list[str]]]:
    """(title, recipe, labels) of each ROC panel: the macro over the tested labels first, then label by label."""
    panels = []
    labels = [label for label in rows["label"].unique() if label in set(curves["label"])]
    tested = [label for label in labels if rows.loc[rows["label"] == label, "tested"].any()]
    for recipe in grid.recipes:
        behind = _behind(recipe.name, grid)
        if len(tested) > 1:
            panels.append((MACRO + behind, recipe.name, tested))
        panels += [(label + behind, recipe.name, [label]) for label in labels]
    return panels


def _behind(recipe: str, grid: Grid) -> str:
    """The recipe, said where there are several."""
    return f", {recipe}" if len(grid.recipes) > 1 else ""


def forest(rows: pd.DataFrame, *, colours: dict[str, str], xlabel: str) -> str:
    """An SVG with one line per row: its difference, its interval, the line of no difference.

    Columns of `rows`: panel, group, name, source, difference, low, high, significant; groups stand below each other,
    panels side by side. A filled mark is significant after correction, a hollow one is not.
    """
    panels = list(dict.fromkeys(rows["panel"]))
    lines = _lines(rows)
    with mpl.rc_context(LOOK | {"svg.hashsalt": "forest"}):
        figure = Figure(figsize=(4.2 + 3.6 * len(panels), 0.9 + 0.21 * len(lines)), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, ax in zip(panels, axes, strict=True):
            _forest_panel(ax, rows[rows["panel"] == panel], lines=lines, colours=colours)
            ax.set_title(panel, fontsize=9, fontweight="bold", loc="left")
            ax.set_xlabel(xlabel)
        axes[0].set_yticks(range(len(lines)), [group if name is None else name for group, name in lines])
        for (_, name), tick in zip(lines, axes[0].get_yticklabels(), strict=True):
            tick.set_fontweight("bold" if name is None else "normal")
        axes[0].set_ylim(len(lines) - 0.4, -0.6)
        return _svg(figure)


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


def roc(curves: pd.DataFrame, *, panels: list[tuple[str, str, list[str]]], colours: dict[str, str]) -> str:
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
            ax.set_title(title, fontsize=9, fontweight="bold", loc="left")
        figure.supxlabel("false positive rate", fontsize=9)
        figure.supylabel("true positive rate", fontsize=9)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside upper left", ncols=max(2, len(panels[:COLUMNS]) * 5 // 4), frameon=False
        )
        return _svg(figure)


def _roc_panel(ax: mpl.axes.Axes, curves: pd.DataFrame, *, colours: dict[str, str]) -> None:
    """One mean curve per source over the line of chance."""
    ax.plot([0, 1], [0, 1], color=RULE, linewidth=0.8)
    ax.set(xlim=(0, 1), ylim=(0, 1.005), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
    for position, (source, colour) in enumerate(colours.items()):
        false, true = mean_curve(curves[curves["source"] == source])
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


def palette(sources: list[str]) -> dict[str, str]:
    """A colour for each source, the same in all figures."""
    return {source: COLOURS[position % len(COLOURS)] for position, source in enumerate(sources)}


def _svg(figure: Figure) -> str:
    """The drawing as SVG without date or maker, on no ground of its own."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def inlined(svg: str, *, name: str, title: str) -> str:
    """An SVG for the inside of a page: its own ids, colours that follow the page's light or dark, a spoken title."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor").replace(RULE, "var(--rule)").replace("#ffffff", "var(--ground)")
    # the page's width decides, not the drawing's
    svg = re.sub(r'<svg ([^>]*?)width="([\d.]+)pt"', r'<svg \1style="max-width: \2pt"', svg, count=1)
    svg = re.sub(r'height="[\d.]+pt" ', "", svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
