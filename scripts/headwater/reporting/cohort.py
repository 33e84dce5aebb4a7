"""Cohort: the characteristics of each dataset by split, as in the first table of a paper."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from headwater.core import text
from headwater.core.fingerprints import short
from headwater.data import cards, splits
from headwater.data.tables import SPLITS, TARGET
from headwater.evaluation.subgroups import UNKNOWN_GROUP
from headwater.reporting import prose, small_counts
from headwater.reporting.printed_table import PrintedTable, plain
from headwater.study.archive import Dataset
from headwater.study.folds import Fold, Folds
from headwater.study.grid import Grid

ALL = "all"
"""The name of all splits together."""

WOMAN = "F"
"""The value of `sex` for women in the tables of cases."""

EXACT = ("dataset", "characteristic", "name", "split", "cases", "known", "value", "sd")
"""Columns in full precision: `known` is the number of cases with a recorded value."""

WORDS = {
    "cases": "Cases",
    "patients": "Patients",
    "age": "Age in years, mean ± SD (known)",
    "women": "Women, of known sex (known)",
}
"""Headings of characteristics; projections and labels have their own names."""

COUNTED_BY_CASE = "Age and sex are counted once for each case, so a patient with many cases counts as often."


def table(cases: dict[str, pd.DataFrame], *, grid: Grid) -> PrintedTable:
    """The table of all datasets, from tables of cases by archive."""
    exact = pd.DataFrame(
        [row for dataset in grid.datasets for row in _of_dataset(dataset, cases[dataset.archive], grid)],
        columns=list(EXACT),
    )
    least = grid.comparing.fewest_positive
    hidden = small_counts.of_cohort(exact, least=least)
    shown = pd.DataFrame(_lines(exact.assign(hidden=hidden), grid=grid)).fillna(text.NONE)
    return PrintedTable(
        title="Characteristics of the datasets",
        shown=shown,
        bold=plain(shown),
        exact=_covered(exact, hidden, least=least),
        warnings=warnings(grid),
        notes=footnotes(cases, grid=grid, hidden=(hidden != "").any()),
    )


def _covered(exact: pd.DataFrame, hidden: pd.Series, *, least: int) -> pd.DataFrame:
    """The numbers with text in place of those that are not shown."""
    if not hidden.any():
        return exact
    covers, few = hidden != "", (exact["known"] > 0) & (exact["known"] < least)
    ages = exact["characteristic"] == "age"
    return exact.assign(
        known=exact["known"].astype(object).mask(covers & (few | ages), hidden),
        value=exact["value"].astype(object).mask(covers, hidden.mask(ages, "")),
        sd=exact["sd"].mask(covers),
    )


def warnings(grid: Grid) -> list[str]:
    """The warnings above the table."""
    twins = [archive.name for archive in _archives(grid) if archive.twin]
    return prose.synthetic(twins)


def footnotes(cases: dict[str, pd.DataFrame], *, grid: Grid, hidden: bool = False) -> list[str]:
    """The footnotes on the columns, on single archives and on their splits."""
    called = {dataset.name: grid.wording.title("datasets", dataset.name) for dataset in grid.datasets}
    return [
        "In brackets, for age and sex: the share of cases for which the archive records it; for projections and "
        f"labels: the share of cases, and of cases whose label is known. {COUNTED_BY_CASE}",
        *_unshown(grid, hidden=hidden),
        *(
            f"{grid.wording.title('datasets', dataset.name)}: {note}."
            for dataset in grid.datasets
            for note in _notes(dataset, grid)
        ),
        *(f"{called[dataset.name]}: {_splits(cases[dataset.archive], dataset.splits)}." for dataset in grid.datasets),
    ]


def _unshown(grid: Grid, *, hidden: bool) -> Iterator[str]:
    """The footnote on counts that are not shown."""
    least = grid.comparing.fewest_positive
    if hidden:
        yield f"<{least}: so few that the number is not shown; ≥{least}: not shown because it would tell such a number."


def _splits(cases: pd.DataFrame, folds: Folds | None) -> str:
    """The fingerprints by which others can check that they have the same splits, or of each fold the same."""
    if folds:
        dealt = (splits.in_fold(cases, Fold(folds=folds, number=number)) for number in range(folds.folds))
        whole = ", ".join(short(splits.digests(of_fold)[splits.ALL]) for of_fold in dealt)
        return f"all patients in {folds.folds} folds, each tested by networks of the others; splits of each {whole}"
    digests = splits.digests(cases)
    parts = ", ".join(f"{name} {short(digests[name])}" for name in SPLITS)
    return f"splits {short(digests[splits.ALL])} ({parts})"


def _archives(grid: Grid) -> list[Any]:
    return [grid.archive(name) for name in sorted({dataset.archive for dataset in grid.datasets})]


def _notes(dataset: Dataset, grid: Grid) -> Iterator[str]:
    """The notes on a dataset's archive."""
    card = cards.card(grid.archive(dataset.archive))
    if card.note:
        yield card.note
    if not card.patients:
        yield f"the archive does not tell which {prose.thing([grid.archive(dataset.archive)])}s belong to one patient"


# the numbers


def _of_dataset(dataset: Dataset, cases: pd.DataFrame, grid: Grid) -> Iterator[dict[str, Any]]:
    """The rows of one dataset: its characteristics in order, each over all splits."""
    patients_known = cards.card(grid.archive(dataset.archive)).patients
    labels = dataset.listed or [name.removeprefix(TARGET) for name in cases.columns if name.startswith(TARGET)]
    # folds have no split of which the others would differ
    separate = () if dataset.splits else SPLITS
    parts = {ALL: cases} | {split: cases[cases["split"] == split] for split in separate}
    measured = {split: _measured(part, labels, patients=patients_known) for split, part in parts.items()}
    projections = cases["view"].replace("", UNKNOWN_GROUP).value_counts().index
    for characteristic, name in _order(measured[ALL], projections=list(projections)):
        for split, part in parts.items():
            value = measured[split].get((characteristic, name), {"known": len(part), "value": 0})
            place = {"dataset": dataset.name, "characteristic": characteristic, "name": name, "split": split}
            yield {**place, "cases": len(part), "sd": None, **value}


def _order(measured: dict[tuple[str, str], dict], *, projections: list[str]) -> list[tuple[str, str]]:
    """The order of the characteristics: projections before labels, which come last in the dataset's order."""
    views = [("projection", view) for view in projections]
    others = [key for key in measured if key[0] != "projection"]
    return [*(key for key in others if key[0] != "label"), *views, *(key for key in others if key[0] == "label")]


def _measured(cases: pd.DataFrame, labels: list[str], *, patients: bool) -> dict[tuple[str, str], dict[str, float]]:
    """The numbers of a set of cases: (characteristic, name) -> known, value and, for ages, sd."""
    age, sex = cases["age"].dropna(), cases["sex"][cases["sex"] != ""]
    measured = {("cases", ""): {"known": len(cases), "value": len(cases)}}
    if patients:
        measured["patients", ""] = {"known": len(cases), "value": cases["patient"].nunique()}
    measured["age", ""] = {"known": len(age), "value": age.mean(), "sd": age.std()}
    measured["women", ""] = {"known": len(sex), "value": int((sex == WOMAN).sum())}
    for view, count in cases["view"].replace("", UNKNOWN_GROUP).value_counts().items():
        measured["projection", view] = {"known": len(cases), "value": int(count)}
    for label in labels:
        target = cases[TARGET + label].dropna()
        measured["label", label] = {"known": len(target), "value": int((target == 1).sum())}
    return measured


# the words


def _lines(exact: pd.DataFrame, *, grid: Grid) -> Iterator[dict[str, str]]:
    """The printed table: a line per characteristic, a column per split; a dataset is named in its first line only."""
    last = ""
    for (dataset, characteristic, name), part in exact.groupby(["dataset", "characteristic", "name"], sort=False):
        cells = {row.split.capitalize(): _cell(characteristic, row) for row in part.itertuples()}
        words = WORDS.get(characteristic, "") or grid.wording.title("labels", name)
        if characteristic == "projection":
            words = f"Projection {name}"
        if characteristic == "label" and (holder := grid.dataset(dataset).holders.get(name)):
            words = f"{words} ({holder})"
        called = grid.wording.title("datasets", dataset)
        yield {"Dataset": called if dataset != last else "", "Characteristic": words, **cells}
        last = dataset


def _cell(characteristic: str, row: Any) -> str:
    """One printed cell."""
    if row.hidden:
        return row.hidden
    if characteristic in ("cases", "patients"):
        return f"{row.value:,.0f}"
    if not row.known:
        return text.NONE
    if characteristic == "age":
        return f"{row.value:.1f} ± {text.plain(row.sd, digits=1)} ({_percent(row.known, row.cases)})"
    if characteristic == "women":
        return f"{_percent(row.value, row.known)} ({_percent(row.known, row.cases)})"
    unknown = f"; {row.cases - row.known:,} unknown" if row.known < row.cases else ""
    return f"{row.value:,.0f} ({_percent(row.value, row.known)}{unknown})"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}%"
