"""Characteristics: who the cases of each dataset are, split by split, as the first table of a paper tells it."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from headwater.core import text
from headwater.core.fingerprints import short
from headwater.data import cards, splits
from headwater.data.tables import SPLITS, TARGET
from headwater.evaluation.subgroups import UNTOLD
from headwater.reporting import prose
from headwater.reporting.pivot import Wide
from headwater.study.archive import Dataset
from headwater.study.grid import Grid

ALL = "all"
"""What stands for a split where a number is of all of them."""

WOMAN = "F"
"""How archives' catalogues write it."""

EXACT = ("dataset", "characteristic", "name", "split", "cases", "known", "value", "sd")
"""Columns of the numbers in full precision: `known` are the cases of which the archive tells it."""

WORDS = {
    "cases": "Cases",
    "patients": "Patients",
    "age": "Age in years, mean ± SD (known)",
    "women": "Women, of known sex (known)",
}
"""What a reader calls a characteristic; a projection and a label are called by their own names."""

TOLD_OF_CASES = "Age and sex are counted once for each case, so a patient with many cases counts as often."


def table(cases: dict[str, pd.DataFrame], *, grid: Grid) -> Wide:
    """All datasets in one table, from tables of cases by archive."""
    exact = pd.DataFrame(
        [row for dataset in grid.datasets for row in _of_dataset(dataset, cases[dataset.archive], grid)],
        columns=list(EXACT),
    )
    shown = pd.DataFrame(_lines(exact))
    bold = pd.DataFrame(False, index=shown.index, columns=shown.columns)
    return Wide(title="Characteristics of the datasets", shown=shown, bold=bold, exact=exact)


def warnings(grid: Grid) -> list[str]:
    """What a reader must know before the first number."""
    twins = [archive.name for archive in _archives(grid) if archive.twin]
    return prose.synthetic(twins)


def footnotes(cases: dict[str, pd.DataFrame], *, grid: Grid) -> list[str]:
    """What a reader must know of the columns, and of single archives and their splits."""
    return [
        "In brackets, of age and sex: the share of cases of which the archive tells it; of projections and labels: the "
        f"share of cases, and of cases whose label is known. {TOLD_OF_CASES}",
        *(f"{dataset.name}: {note}." for dataset in grid.datasets for note in _notes(dataset, grid)),
        *(f"{dataset.name}: {_splits(cases[dataset.archive])}." for dataset in grid.datasets),
    ]


def _splits(cases: pd.DataFrame) -> str:
    """The fingerprints by which others can tell that they have the same splits."""
    found = splits.digests(cases)
    parts = ", ".join(f"{name} {short(found[name])}" for name in SPLITS)
    return f"splits {short(found[splits.ALL])} ({parts})"


def _archives(grid: Grid) -> list[Any]:
    return [grid.archive(name) for name in sorted({dataset.archive for dataset in grid.datasets})]


def _notes(dataset: Dataset, grid: Grid) -> Iterator[str]:
    """What has to be said of a dataset's archive."""
    card = cards.card(grid.archive(dataset.archive))
    if card.note:
        yield card.note
    if not card.patients:
        yield "the archive does not tell which images belong to one patient"


# the numbers


def _of_dataset(dataset: Dataset, cases: pd.DataFrame, grid: Grid) -> Iterator[dict[str, Any]]:
    """The rows of one dataset: its characteristics in order, each over all splits."""
    told = cards.card(grid.archive(dataset.archive)).patients
    labels = dataset.labels or [name.removeprefix(TARGET) for name in cases.columns if name.startswith(TARGET)]
    parts = {ALL: cases} | {split: cases[cases["split"] == split] for split in SPLITS}
    measured = {split: _measured(part, labels, patients=told) for split, part in parts.items()}
    projections = cases["view"].replace("", UNTOLD).value_counts().index
    for characteristic, name in _order(measured[ALL], projections=list(projections)):
        for split, part in parts.items():
            value = measured[split].get((characteristic, name), {"known": len(part), "value": 0})
            place = {"dataset": dataset.name, "characteristic": characteristic, "name": name, "split": split}
            yield {**place, "cases": len(part), "sd": None, **value}


def _order(found: dict[tuple[str, str], dict], *, projections: list[str]) -> list[tuple[str, str]]:
    """The characteristics as they stand below each other: labels in the dataset's order, last."""
    views = [("projection", view) for view in projections]
    others = [key for key in found if key[0] != "projection"]
    return [*(key for key in others if key[0] != "label"), *views, *(key for key in others if key[0] == "label")]


def _measured(cases: pd.DataFrame, labels: list[str], *, patients: bool) -> dict[tuple[str, str], dict[str, float]]:
    """What is known of some cases: (characteristic, name) -> known, value and, of ages, sd."""
    age, sex = cases["age"].dropna(), cases["sex"][cases["sex"] != ""]
    found = {("cases", ""): {"known": len(cases), "value": len(cases)}}
    if patients:
        found["patients", ""] = {"known": len(cases), "value": cases["patient"].nunique()}
    found["age", ""] = {"known": len(age), "value": age.mean(), "sd": age.std()}
    found["women", ""] = {"known": len(sex), "value": int((sex == WOMAN).sum())}
    for view, count in cases["view"].replace("", UNTOLD).value_counts().items():
        found["projection", view] = {"known": len(cases), "value": int(count)}
    for label in labels:
        target = cases[TARGET + label].dropna()
        found["label", label] = {"known": len(target), "value": int((target == 1).sum())}
    return found


# the words


def _lines(exact: pd.DataFrame) -> Iterator[dict[str, str]]:
    """The table as a reader wants it: a characteristic a line, a split a column; a dataset is named once."""
    last = ""
    for (dataset, characteristic, name), part in exact.groupby(["dataset", "characteristic", "name"], sort=False):
        cells = {row.split.capitalize(): _said(characteristic, row) for row in part.itertuples()}
        words = WORDS.get(characteristic, name)
        if characteristic == "projection":
            words = f"Projection {name}"
        yield {"Dataset": dataset if dataset != last else "", "Characteristic": words, **cells}
        last = dataset


def _said(characteristic: str, row: Any) -> str:
    """One number as a reader wants it."""
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
