"""Critical differences: the mean rank of each source over the test sets, and which ranks cannot be told apart."""

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from headwater.core import registry
from headwater.reporting import formatting, pivot
from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import INK, LOOK, Drawing, behind, colours_of, paper
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

CARD = FigureCard(
    section="verdict",
    place=20,
    title="Mean ranks over test sets",
    caption="Description only: mean rank of each source over the test sets, best to the left; a bar joins sources that "
    "Nemenyi's test does not tell apart. Test sets are few and not a sample of test sets, and ranks forget how large a "
    "difference is: no claim rests on this.",
)


def make(study: StudyResults) -> dict[str, Drawing]:
    """One diagram for each metric and recipe, where there are sources and test sets enough."""
    values = pivot.ranked(study.comparisons, grid=study.grid)
    return {} if values.empty else {"": drawn(values, colours=colours_of(study.grid), grid=study.grid)}


def reason_for_none(study: StudyResults) -> str:
    """Why no ranks are drawn."""
    sources, datasets = pivot.FEWEST_RANKED
    return f"No ranks over test sets are drawn: they need {sources} sources and {datasets} test sets with a macro."


def drawn(values: pd.DataFrame, *, colours: dict[str, str], grid: Grid) -> Drawing:
    """A drawing of critical differences (Demsar 2006), a panel for each metric and recipe.

    `values` has the columns dataset, metric, recipe, source and value: each source's macro on each test set. Mean
    ranks are compared by Nemenyi's test after Friedman's; a bar joins sources that it does not tell apart.
    """
    panels = list(dict.fromkeys(zip(values["metric"], values["recipe"], strict=True)))
    titles = formatting.titles(grid)
    sources = values["source"].nunique()
    with mpl.rc_context(LOOK | {"svg.hashsalt": "ranks"}):
        figure = paper(7.4, (0.9 + 0.2 * sources) * len(panels))
        for (metric, recipe), ax in zip(panels, figure.subplots(len(panels), 1, squeeze=False)[:, 0], strict=True):
            part = values[(values["metric"] == metric) & (values["recipe"] == recipe)]
            better = registry.load("metrics", metric).BETTER
            _panel(ax, part.pivot_table(index="dataset", columns="source", values="value"), colours, better, grid)
            ax.set_title(titles[metric] + behind(recipe, grid), fontsize=8, fontweight="bold", loc="left")
        return Drawing(figure)


def _panel(ax: Axes, values: pd.DataFrame, colours: dict[str, str], better: str, grid: Grid) -> None:
    """One diagram, from values with a row for each test set and a column for each source; rank 1 is the best."""
    # it brings seaborn with it, which takes seconds to load: only a report that draws ranks waits for it
    import scikit_posthocs

    colours = {grid.wording.short("sources", source): colours[source] for source in values.columns}
    values = values.rename(columns=lambda source: grid.wording.short("sources", source))
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
