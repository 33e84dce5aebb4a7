"""A matrix: how well a source's networks do on every dataset, seen at once, by the dataset that they were fitted to."""

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Rectangle

from headwater.core import registry, text
from headwater.data.tables import MACRO
from headwater.reporting import external_table, formatting
from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import COLOURS, INK, LOOK, Drawing, behind, paper
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

SHADES = LinearSegmentedColormap.from_list("shades", ["#f2f6fa", COLOURS[0]])
"""From the worst to the best value of all sources."""

# a cell's ground does not follow the page's light or dark, so neither may its words
ON_LIGHT, ON_DARK = "#111111", "#fefefe"


CARD = FigureCard(
    section="elsewhere",
    place=90,
    title="By the dataset fitted to and the one tested on",
    caption="Mean over findings (how many), darker where better; one scale for all sources. A frame: fitted to the "
    "dataset itself.",
    when="external",
)


def make(study: StudyResults) -> dict[str, Drawing]:
    """A matrix for each source that has a number."""
    crossed = study.crossed
    macro = external_table.ordered(crossed[crossed["label"] == MACRO], grid=study.grid)
    sources = dict.fromkeys(macro.loc[macro["value"].notna(), "source"])
    return {source: drawn(macro, source=source, grid=study.grid) for source in sources}


def drawn(cells: pd.DataFrame, *, source: str, grid: Grid) -> Drawing:
    """A drawing with a panel for each metric and recipe: rows fitted to, columns tested on, a frame around home.

    `cells` are the macro cells of all sources, which share one scale of shades.
    """
    panels = list(dict.fromkeys(zip(cells["metric"], cells["recipe"], strict=True)))
    shown = {*cells["dataset"], *cells["fitted_to"]}
    datasets = [dataset.name for dataset in grid.datasets if dataset.name in shown]
    titles = formatting.titles(grid)
    with mpl.rc_context(LOOK | {"svg.hashsalt": "matrix"}):
        figure = paper((2.0 + 0.9 * len(datasets)) * len(panels), 1.2 + 0.5 * len(datasets))
        for (metric, recipe), ax in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
            _panel(ax, cells[(cells["metric"] == metric) & (cells["recipe"] == recipe)], source, datasets, metric, grid)
            title = f"{grid.wording.short('sources', source)}: {titles[metric]}{behind(recipe, grid)}"
            ax.set_title(title, fontsize=8, fontweight="bold", loc="left")
        return Drawing(figure)


def _panel(ax: Axes, cells: pd.DataFrame, source: str, datasets: list[str], metric: str, grid: Grid) -> None:
    """One panel, from the cells of all sources by one metric and recipe."""
    better = -1 if registry.load("metrics", metric).BETTER == "lower" else 1
    worst, best = (better * cells["value"]).min(), (better * cells["value"]).max()
    # one value alone has no scale
    scale = Normalize(worst, best) if worst != best else Normalize(worst - 1, best)
    for row in cells[cells["source"] == source].itertuples():
        _cell(ax, row, (datasets.index(row.dataset), datasets.index(row.fitted_to)), scale(better * row.value))
    ax.set_xlim(-0.5, len(datasets) - 0.5)
    ax.set_ylim(len(datasets) - 0.5, -0.5)
    called = [grid.wording.short("datasets", name) for name in datasets]
    ax.set_xticks(range(len(datasets)), called, rotation=30, ha="right")
    ax.set_yticks(range(len(datasets)), called)
    ax.set_xlabel("tested on")
    ax.set_ylabel("fitted to")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _cell(ax: Axes, row: tuple, place: tuple[int, int], shade: float) -> None:
    """A cell with its value and the number of findings behind it; empty where there is none."""
    if pd.isna(row.value):
        return
    x, y = place
    home = row.dataset == row.fitted_to
    ax.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, facecolor=SHADES(shade), edgecolor=INK if home else "none"))
    words = f"{text.plain(row.value, digits=formatting.digits(row.metric))} ({row.findings})"
    ax.text(x, y, words, ha="center", va="center", fontsize=8, color=ON_DARK if shade > 0.6 else ON_LIGHT)
