"""Ranks: in which place each source comes over all test sets, and which places lie too close to be told apart."""

import matplotlib as mpl
import pandas as pd
import scikit_posthocs
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headwater.core import registry
from headwater.reporting import formatting
from headwater.reporting.figures.drawing import INK, LOOK, as_svg, behind
from headwater.study.grid import Grid


def drawn(values: pd.DataFrame, *, colours: dict[str, str], grid: Grid) -> str:
    """An SVG of critical differences (Demsar 2006), a panel for each metric and recipe.

    `values` has the columns dataset, metric, recipe, source and value: each source's macro on each test set. Mean
    ranks are compared by Nemenyi's test after Friedman's; a bar joins sources that it does not tell apart.
    """
    panels = list(dict.fromkeys(zip(values["metric"], values["recipe"], strict=True)))
    titles = formatting.titles(grid)
    sources = values["source"].nunique()
    with mpl.rc_context(LOOK | {"svg.hashsalt": "ranks"}):
        figure = Figure(figsize=(7.4, (0.9 + 0.2 * sources) * len(panels)), layout="constrained")
        for (metric, recipe), ax in zip(panels, figure.subplots(len(panels), 1, squeeze=False)[:, 0], strict=True):
            part = values[(values["metric"] == metric) & (values["recipe"] == recipe)]
            better = registry.load("metrics", metric).BETTER
            _panel(ax, part.pivot_table(index="dataset", columns="source", values="value"), colours, better, grid)
            ax.set_title(titles[metric] + behind(recipe, grid), fontsize=9, fontweight="bold", loc="left")
        return as_svg(figure)


def _panel(ax: Axes, values: pd.DataFrame, colours: dict[str, str], better: str, grid: Grid) -> None:
    """One diagram, from values with a row for each test set and a column for each source; rank 1 is the best."""
    ranks = values.rank(axis=1, ascending=better == "lower").mean()
    parts = scikit_posthocs.critical_difference_diagram(
        ranks,
        scikit_posthocs.posthoc_nemenyi_friedman(values),
        ax=ax,
        alpha=grid.comparing.level,
        color_palette={source: colours[source] for source in values.columns},
        label_fmt_left="{label} ({rank:.2f})",
        label_fmt_right="({rank:.2f}) {label}",
        label_props={"fontsize": 8.5},
        crossbar_props={"color": INK, "linewidth": 2.2, "marker": None},
        elbow_props={"linewidth": 0.9},
    )
    for bars in parts["crossbars"]:
        for bar in bars:
            # its points come from a set, in another order in each process
            bar.set_xdata(sorted(bar.get_xdata()))
