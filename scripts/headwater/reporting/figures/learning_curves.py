"""Learning curves: what the networks of each source reach, by the number of patients that they are fitted to."""

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from headwater.data import cards, subsample
from headwater.data.tables import MACRO
from headwater.reporting import formatting, pivot, prose
from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import DASHES, LOOK, Drawing, as_title, colours_of, paper
from headwater.reporting.results import StudyResults
from headwater.study.archive import Dataset
from headwater.study.grid import Grid
from headwater.study.recipe import Recipe

CARD = FigureCard(
    section="datasets",
    place=45,
    title="Learning curves",
    caption="Macro by the number of training patients, of recipes that differ only in their share of them, with "
    "intervals; marks of one number lie side by side. Intervals of two sources are of each alone: their difference "
    "has its own in the tables.",
)

APART = 0.03
"""How far the marks of neighbouring sources are moved apart, as a share of the width of a panel."""


def make(study: StudyResults) -> dict[str, Drawing]:
    """The curves of each dataset that is fitted by recipes that differ only in their fraction."""
    drawings = {}
    for dataset in study.grid.datasets:
        rows = points(study.comparisons, dataset=dataset, patients=_training_patients(dataset, study), grid=study.grid)
        if len(rows):
            counted = _counted(dataset, study.grid)
            drawings[dataset.name] = drawn(rows, colours=colours_of(study.grid), counted=counted, grid=study.grid)
    return drawings


def curves(recipes: list[Recipe]) -> list[list[Recipe]]:
    """The recipes that differ only in their fraction, in ascending order of it; at least two a list."""
    alike: dict[str, dict[float, Recipe]] = {}
    for recipe in recipes:
        same = recipe.model_copy(update={"name": "", "fraction": 1.0}).digest
        alike.setdefault(same, {}).setdefault(recipe.fraction, recipe)
    return [[of[share] for share in sorted(of)] for of in alike.values() if len(of) > 1]


def points(rows: pd.DataFrame, *, dataset: Dataset, patients: int, grid: Grid) -> pd.DataFrame:
    """One row per metric, curve, source and fraction: the macro of the comparison with its interval, and the patients.

    Controls are left out. A curve is named after its recipe of the largest fraction.
    """
    macro = rows[(rows["dataset"] == dataset.name) & (rows["label"] == MACRO)]
    sources = [source.name for source in grid.fitted_to(dataset.name) if not source.control]
    lines = {place: list(line.itertuples()) for place, line in macro.groupby(["metric", "recipe"])}
    found = [
        {
            **{"metric": metric, "curve": curve[-1].name, "source": source, "fraction": recipe.fraction},
            "patients": subsample.size(patients, fraction=recipe.fraction),
            **pivot.value_of(lines[metric, recipe.name], source),
        }
        for curve in curves([recipe for recipe in grid.recipes if dataset.follows(recipe.name)])
        for metric in grid.comparing.metrics
        for source in sources
        for recipe in curve
        if (metric, recipe.name) in lines
    ]
    columns = ["metric", "curve", "source", "fraction", "patients", *pivot.VALUE]
    return pd.DataFrame(found, columns=columns).dropna(subset=["value"])


def drawn(rows: pd.DataFrame, *, colours: dict[str, str], counted: str, grid: Grid) -> Drawing:
    """A drawing of one dataset's `points`: a row for each curve, a panel for each metric, and a line for each source.

    `counted` is what the axis counts.
    """
    names, titles = list(dict.fromkeys(rows["curve"])), formatting.headings(grid)
    metrics = [metric for metric in grid.comparing.metrics if metric in set(rows["metric"])]
    with mpl.rc_context(LOOK | {"svg.hashsalt": "learning_curves"}):
        figure = paper(0.4 + 3.4 * len(metrics), 0.3 + 3.3 * len(names))
        axes = figure.subplots(len(names), len(metrics), squeeze=False)
        for name, row in zip(names, axes, strict=True):
            for metric, ax in zip(metrics, row, strict=True):
                _panel(ax, rows[(rows["curve"] == name) & (rows["metric"] == metric)], colours=colours, grid=grid)
                title = titles[metric] + (f", {grid.wording.short('recipes', name)}" if len(names) > 1 else "")
                ax.set_title(as_title(title), fontsize=8, fontweight="bold", loc="left")
                ax.set_xlabel(counted)
        every = (zip(*reversed(ax.get_legend_handles_labels()), strict=True) for ax in axes.ravel())
        handles = {name: handle for drawn in every for name, handle in drawn}
        figure.legend(handles.values(), handles, loc="outside upper left", ncols=2 * len(metrics), frameon=False)
        return Drawing(figure)


def _panel(ax: Axes, rows: pd.DataFrame, *, colours: dict[str, str], grid: Grid) -> None:
    """One line per source over the number of patients, on a logarithmic axis that names each number and its share."""
    if rows.empty:
        ax.set_visible(False)
        return
    marks = rows.drop_duplicates("fraction").sort_values("fraction")
    width = marks["patients"].max() / marks["patients"].min()
    shown = [source for source in colours if source in set(rows["source"])]
    for place, source in enumerate(shown):
        of = rows[rows["source"] == source].sort_values("fraction")
        at = of["patients"] * width ** (APART * (place - (len(shown) - 1) / 2))
        # an interval can miss its value by a rounding
        ends = [(of["value"] - of["value_low"]).clip(lower=0), (of["value_high"] - of["value"]).clip(lower=0)]
        turn = list(colours).index(source) % len(DASHES)
        look = {"color": colours[source], "linestyle": DASHES[turn], "linewidth": 1.3, "elinewidth": 0.8}
        ax.errorbar(
            at, of["value"], yerr=ends, marker="o", markersize=4, label=grid.wording.short("sources", source), **look
        )
    ax.set_xscale("log")
    ax.set_xticks(marks["patients"], [f"{row.patients:,}\n{100 * row.fraction:g}%" for row in marks.itertuples()])
    ax.minorticks_off()
    ax.grid(axis="y")
    ax.set_axisbelow(True)


def _training_patients(dataset: Dataset, study: StudyResults) -> int:
    """The patients of the training split; cases that the ledger drops are not in it."""
    cases = study.cases[dataset.archive]
    return cases.loc[cases["split"] == "train", "patient"].nunique()


def _counted(dataset: Dataset, grid: Grid) -> str:
    """What the axis counts: patients, or cases of an archive that does not tell them apart."""
    archive = grid.archive(dataset.archive)
    return f"training {'patient' if cards.card(archive).patients else prose.thing([archive])}s, and their share"
