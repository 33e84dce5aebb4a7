"""The common parts of the tables of calibration, operating points and subgroups.

The printed tables have the macro of each source, the .csv files every label and control.
"""

from collections.abc import Callable

import pandas as pd

from headwater.data.tables import MACRO
from headwater.evaluation import subgroups
from headwater.evaluation.seed_groups import SCALED
from headwater.reporting import formatting, prose
from headwater.reporting.printed_table import PrintedTable, plain
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

INTERVALS = (
    "±: standard error of the mean over seeds. It and the interval generalise to other patients and to other trainings "
    "(seeds as readers, all cases of a patient drawn together). Nothing in this table is tested, and no star or claim "
    "rests on it."
)

GUESTS = (
    "Networks fitted to other datasets are in {name}.csv, by fitted_to, for the findings that both datasets have: with "
    "the temperature and the thresholds of their own validation split, as they would be carried to this hospital."
)


def table(
    rows: pd.DataFrame,
    *,
    title: str,
    columns: Callable[[pd.DataFrame, Grid], dict[str, list[str]]],
    exact: pd.DataFrame,
    notes: list[str],
    study: StudyResults,
    only: pd.Series | None = None,
    nothing: str = PrintedTable.nothing,
) -> PrintedTable:
    """A table of these rows; the macros of home networks are printed, without controls and restricted to `only`."""
    grid = study.grid
    printed = _printed(rows if only is None else rows[only], grid)
    place = {
        heading: [grid.wording.title(f"{heading.lower()}s", name) for name in printed[heading.lower()]]
        for heading in ("Dataset", "Recipe", "Source")
    }
    shown = pd.DataFrame({**place, **columns(printed, grid)})
    shown = shown.drop(columns=formatting.single(grid), errors="ignore")
    warnings = prose.warnings(study.comparisons, grid=grid)
    return PrintedTable(
        title=title, shown=shown, bold=plain(shown), exact=exact, warnings=warnings, notes=notes, nothing=nothing
    )


def ordered(rows: pd.DataFrame, *, study: StudyResults) -> pd.DataFrame:
    """Rows in the config's order of datasets, recipes, sources and labels."""
    grid = study.grid
    places = {
        "dataset": [dataset.name for dataset in grid.datasets],
        "fitted_to": [dataset.name for dataset in grid.datasets],
        "recipe": [recipe.name for recipe in grid.recipes],
        "source": [source.name for source in grid.sources],
    }

    def place(at: int) -> tuple:
        row = rows.loc[at]
        first = tuple(names.index(row[name]) for name, names in places.items() if name in rows)
        label = study.label_order[row["dataset"]].index(row["label"])
        last = (row["scores"] == SCALED,) if "scores" in rows else ()
        return (*first, label, *(subgroups.place(row["characteristic"], row["group"]) if "group" in rows else last))

    return rows.loc[sorted(rows.index, key=place)].reset_index(drop=True)


def _printed(rows: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """The macros of home networks, without controls."""
    controls = [source.name for source in grid.sources if source.control]
    at_home = rows["fitted_to"] == rows["dataset"] if "fitted_to" in rows else True
    return rows[(rows["label"] == MACRO) & ~rows["source"].isin(controls) & at_home].reset_index(drop=True)


def numbers(rows: pd.DataFrame, name: str, *, sign: str = "") -> list[str]:
    """A quantity with its standard error and interval, as text."""
    columns = [rows[f"{name}{suffix}"] for suffix in ("", "_se", "_low", "_high")]
    digits = formatting.digits(rows["metric"].iloc[0]) if "metric" in rows and len(rows) else 3
    return [formatting.with_error(*cells, sign=sign, digits=digits) for cells in zip(*columns, strict=True)]


def footnotes(name: str, *, guests: bool, grid: Grid) -> list[str]:
    """The footnotes of all these tables; `guests`: the .csv also has networks fitted to other datasets."""
    return [*([GUESTS.format(name=name)] if guests and grid.comparing.external else []), INTERVALS]
