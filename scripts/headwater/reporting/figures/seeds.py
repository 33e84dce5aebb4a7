"""Seeds: what each training of each source reached, so that the eye sees how much is luck."""

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from headwater.data.tables import MACRO
from headwater.reporting import formatting
from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import LOOK, RULE, Drawing, behind, colours_of, paper
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

CARD = FigureCard(
    section="datasets",
    place=50,
    title="What each training reached",
    caption="What each training reached, macro: a dot for each seed, a bar for their mean. Thin lines join trainings "
    "of one seed, where a seed means the same random numbers for every source.",
)


def make(study: StudyResults) -> dict[str, Drawing]:
    """The trainings of each dataset that has a macro."""
    macro = study.run_values[study.run_values["label"] == MACRO]
    by_dataset = {dataset.name: macro[macro["dataset"] == dataset.name] for dataset in study.grid.datasets}
    colours = colours_of(study.grid)
    return {name: drawn(part, colours=colours, grid=study.grid) for name, part in by_dataset.items() if len(part)}


def drawn(values: pd.DataFrame, *, colours: dict[str, str], grid: Grid) -> Drawing:
    """A drawing with a panel for each metric and recipe: a dot for each training, a bar for each source's mean.

    `values` are what the runs of one dataset reached, macro. Where seed k means the same data order and first head
    weights for every source, its dots are joined.
    """
    panels = [
        (metric, recipe.name, part)
        for metric in grid.comparing.metrics
        for recipe in grid.recipes
        if not (part := values[(values["metric"] == metric) & (values["recipe"] == recipe.name)]).empty
    ]
    sources = [source.name for source in grid.sources if source.name in set(values["source"])]
    titles = formatting.headings(grid)
    with mpl.rc_context(LOOK | {"svg.hashsalt": "seeds"}):
        figure = paper((1.0 + 0.42 * len(sources)) * len(panels), 3.2)
        for (metric, recipe, part), ax in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
            of_seeds = part.pivot_table(index="seed", columns="source", values="value")[sources]
            _panel(ax, of_seeds, colours, grid=grid)
            ax.set_title(titles[metric] + behind(recipe, grid), fontsize=8, fontweight="bold", loc="left")
        return Drawing(figure)


def _joined(grid: Grid) -> list[str]:
    """The sources whose seeds are pairs; an A/A control draws other random numbers."""
    if grid.comparing.pairing == "nested":
        return []
    return [source.name for source in grid.sources if source.control != "again"]


def _panel(ax: Axes, values: pd.DataFrame, colours: dict[str, str], *, grid: Grid) -> None:
    """One panel, from values with a row for each seed and a column for each source."""
    joined = _joined(grid)
    places = {source: position for position, source in enumerate(values.columns)}
    for seed in values.index if joined else ():
        line = values.loc[seed].where(values.columns.isin(joined))  # broken where a source is nobody's pair
        ax.plot(list(places.values()), line, color=RULE, linewidth=0.8, zorder=1)
    for source, place in places.items():
        colour, reached = colours[source], values[source]
        ax.plot([place] * len(reached), reached, "o", color=colour, markersize=4.5, zorder=3)
        ax.plot([place - 0.25, place + 0.25], [reached.mean()] * 2, color=colour, linewidth=1.6, zorder=2)
    called = [grid.wording.short("sources", source) for source in places]
    ax.set_xticks(list(places.values()), called, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(places) - 0.4)
    ax.grid(axis="y")
    ax.set_axisbelow(True)
