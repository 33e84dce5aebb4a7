"""Tables of one's own: a row per case, columns of any name; mistakes are told with line, column and a remedy.

Shared by the folders of pictures and of volumes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.core.errors import UserError, all_of, did_you_mean
from headwater.core.records import Record
from headwater.data.io.ages import in_years
from headwater.data.io.folders import as_on_disk
from headwater.data.io.sheets import first_there, line_of, read_header, read_sheet, refuse_empty, refuse_twice
from headwater.data.tables import NUMBERS, TARGET

ODD_PATH = r"//|/$|(?:^|/)\.(?:/|$)"
"""Paths that can be written in a shorter way."""

SPLITS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}
SEXES = {"f": "F", "female": "F", "w": "F", "m": "M", "male": "M"}
NEGLIGIBLE = 1e-6
"""Difference of two numbers, as a share of their column's range, that may be lost when they are stored."""
VALUES = {"": np.nan, "0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}


class Columns(Record):
    """The names of columns. One that is set must be there; one of a default name is read if it is there."""

    table: str = "cases.csv"
    """The CSV below the folder: one line per case, the first line has the names of the columns."""
    labels: tuple[str, ...] = ()
    """Columns with 1 (present), 0 (absent) or nothing (unknown); by default all that no other option names, and whose
    name is not that of an option."""
    classes: str | dict[str, str] = ""
    """A column with the one class of each case, or nothing (unknown), instead of a column per label; `labels` may then
    list the classes. Several such columns by names of your choice, as in {cohort: V00COHORT, sex: gender}: their labels
    are `cohort=Progression`, `sex=F` and so on, and `labels` names columns of 1 and 0 beside them."""
    numbers: tuple[str, ...] = ()
    """Columns with a number, such as an age or a score, or nothing (unknown): what the task `regression` learns. They
    are kept in single precision, about seven digits; whole numbers that it does not tell apart are refused."""
    split: str = "split"
    """train, validation or test; if empty in all lines, splits are drawn by patient."""
    study: str = "study"
    """The examination of a case."""
    sex: str = "sex"
    """F or M, or nothing."""
    age: str = "age"
    """Years, or as in DICOM (058Y), or nothing."""
    site: str = "site"
    """Hospital or device."""
    title: str = "A folder of one's own"
    """The archive's name in tables."""
    licence: str = "your own to know"
    """The terms of use of the images."""
    numbering: str = Field("", json_schema_extra={"means": "numbering"})
    """Who assigned the patient numbers, such as the hospital: in archives of one numbering, equal numbers are one
    person. By default each folder has its own numbers."""


class Layout(NamedTuple):
    """Which columns a table has besides labels."""

    places: tuple[str, ...]
    """those that are not labels; the option of the same name gives each one's name in the table"""
    needed: tuple[str, ...]
    spellings: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """for some places further names by which their column is known where no option names it"""
    ignored: tuple[str, ...] = ()
    """columns that are never labels by themselves"""


@dataclass(frozen=True, kw_only=True)
class Read:
    """What was read of a table, nothing of it interpreted but the paths."""

    table: Path
    options: Columns
    named: Mapping[str, str]
    """the column of each place that the table has"""
    cells: pd.DataFrame
    """of every place, "" where the table lacks it"""
    single: tuple[str, ...]
    """the columns of 1 and 0"""
    sheet: pd.DataFrame
    """the cells of labels as `=COLUMN`, and of numbers as `#COLUMN`"""

    def refuse(self, which: np.ndarray, place: str, what: str, *, remedy: str) -> None:
        """Refuse the table for the first of these rows, with its line, column and cell, of which `what` is said."""
        if which.any():
            thing = f"{self.cells[place][which].iloc[0]!r}{what}"
            raise bad_cell(self.table, line_of(self.cells, which), self.named[place], thing, remedy=remedy)


def table_of(folder: Path, options: Columns) -> Path:
    """The table; refused if it is not there."""
    return first_there(folder, names=[options.table], remedy="give the name of your CSV by the option `table`")


def labels(table: Path, options: Columns, layout: Layout) -> tuple[str, ...]:
    """The labels by the options, or else by the table; columns of 1 and 0 come first."""
    single, groups = _single(table, options, layout), _groups(options)
    if not groups or (options.labels and "" in groups):
        return single or options.labels
    header = read_header(table)
    all_of(*(partial(_refuse_absent, name, header, place="classes", table=table) for name in groups.values()))
    found = read_sheet(table, columns={f"={column}": (column,) for column in groups.values()})
    every = (*single, *(name for name, _, _ in _classes(found, options)))
    if twice := [name for name in every if every.count(name) > 1]:
        what = f"gives two labels the name {twice[0]!r}"
        raise UserError(what, file=table, remedy="rename a column, or an entry of `classes`", nameless=what)
    return every


def read(folder: Path, options: Columns, layout: Layout, *, rows: int | None, labelled: bool = True) -> Read:
    """The cells of a table, or of the first `rows` of its lines and of as many others; files as the disk writes them.

    Without labels and numbers unless `labelled`. An empty cell of a needed column is refused, and so is a path outside
    of the folder or one that is listed twice.
    """
    table = table_of(folder, options)
    named, single = named_in(table, options, layout), _single(table, options, layout) if labelled else ()
    # `=` keeps a label apart from a place that has the same name
    columns = {place: (column,) for place, column in named.items()}
    if labelled:
        columns |= {f"={name}": (name,) for name in (*single, *_groups(options).values())}
        columns |= {f"#{name}": (name,) for name in options.numbers}
    sheet = read_sheet(table, columns=columns, rows=rows)
    cells = pd.DataFrame({place: sheet.get(place, pd.Series("", index=sheet.index)) for place in layout.places})
    refuse_empty(cells, columns=[place for place in ("file", "patient") if place in named], file=table)
    found = Read(table=table, options=options, named=named, cells=cells, single=single, sheet=sheet)
    return with_files(found, folder, place="file")


def with_files(found: Read, folder: Path, *, place: str) -> Read:
    """The same with the paths of a column below the folder, as the disk writes them; its own spelling as PLACE_listed.

    A path outside of the folder, or one that is listed twice, is refused; empty cells stay.
    """
    paths = found.cells[place]
    # a path that is written from the root on may well lie below the folder
    for home in dict.fromkeys((folder.absolute(), folder.resolve())):
        paths = paths.str.removeprefix(f"{home}/")
    # only of these, as it takes seconds for all paths of a large table
    odd = paths.str.contains(ODD_PATH)
    paths = paths.mask(odd, paths.loc[odd].map(lambda name: Path(name).as_posix()))
    outside = paths.str.contains(r"^/|(?:^|/)\.\.(?:/|$)").to_numpy()
    found.refuse(outside, place, f" is outside of {folder}", remedy="give a path below the archive's folder")
    cells = found.cells.assign(**{place: as_on_disk(folder, paths), f"{place}_listed": paths})
    refuse_twice(cells[cells[place] != ""], columns=[place], file=found.table)
    return replace(found, cells=cells)


def refuse_all_absent(files: pd.Series, folder: Path, options: Columns, *, column: str, what: str) -> None:
    """Refuse a table none of whose files is there: a few are rejects, but if all are absent, the paths are wrong."""
    if not any((folder / name).exists() for name in files):
        first = line_of(files, np.array([True]))
        thing = f"{files.iloc[0]!r} does not exist, nor does any of the {len(files)} {what}"
        raise bad_cell(table_of(folder, options), first, column, thing, remedy=f"give paths below {folder}")


def catalogue(found: Read, *further: Callable[[], Any], split: Callable[[], pd.Series] | None = None) -> Any:
    """(the catalogue, the results of further checks); all mistakes are told at once. `split`: in place of the usual."""
    cells, options, words = found.cells, found.options, partial(mapped, table=found.table)
    ages = cells["age"].map(in_years)
    splits, sex, age, *others, targets = all_of(
        split or partial(splits_of, found, "split"),
        lambda: words(cells["sex"].str.lower(), {"": "", **SEXES}, column=options.sex),
        lambda: numbers(cells["age"], ages, column=options.age, table=found.table),
        *further,
        partial(_targets, found),
    )
    sheet, table = found.sheet, found.table
    told = all_of(*(partial(_number, sheet[f"#{name}"], column=name, table=table) for name in options.numbers))
    patient = cells["patient"].where(cells["patient"] != "", cells["file_listed"])
    columns = ["file", "study", "site"]
    people = {"patient": patient, "split": splits, "sex": sex, "age": age}
    rows = cells[columns].assign(case=cells["file_listed"], view=cells.get("view", ""), **people)
    columns_of_numbers = {NUMBERS + name: each for name, each in zip(options.numbers, told, strict=True)}
    return pd.concat([rows, targets, pd.DataFrame(columns_of_numbers, index=rows.index)], axis=1), others


def splits_of(found: Read, place: str) -> pd.Series:
    """The splits by the words of a column; if one line has a word, all must."""
    words = found.cells[place]
    if (words != "").any():
        refuse_empty(found.cells, columns=[place], file=found.table)
    column = found.named.get(place, place)
    return mapped(words.str.lower(), {"": "", **SPLITS}, column=column, table=found.table)


def named_in(table: Path, options: Columns, layout: Layout) -> dict[str, str]:
    """The column of each place that the table has; a missing column that is set or required is refused."""
    header = read_header(table)
    if not header:
        # which says why the table cannot be read
        read_sheet(table, columns={})
    named = {place: _spelt(place, options, layout, header) for place in layout.places}
    required = [place for place in layout.places if place in options.model_fields_set or place in layout.needed]
    all_of(*(partial(_refuse_absent, named[place], header, place=place, table=table) for place in required))
    return {place: column for place, column in named.items() if column in header}


def _spelt(place: str, options: Columns, layout: Layout, header: list[str]) -> str:
    """The name of the column of a place: by the options, or another one by which it is known."""
    asked = getattr(options, place)
    if asked in header or place in options.model_fields_set:
        return asked
    return next((name for name in dict(layout.spellings).get(place, ()) if name in header), asked)


def _refuse_absent(column: str, header: list[str], *, place: str, table: Path) -> None:
    """Refuse a header without the column that an option names."""
    if column and column not in header:
        what = f"line 1 has no column {column!r}, which the option `{place}` names"
        remedy = f"set {place}: COLUMN; {did_you_mean(column, header)}"
        raise UserError(what, file=table, remedy=remedy, nameless=what)


def _single(table: Path, options: Columns, layout: Layout) -> tuple[str, ...]:
    """The columns of 1 and 0."""
    groups = _groups(options)
    if options.labels or groups:
        return () if "" in groups else options.labels
    spelt = (name for _, names in layout.spellings for name in names)
    taken = {*named_in(table, options, layout).values(), *layout.places, *spelt, *layout.ignored, *options.numbers}
    return tuple(column for column in read_header(table) if column not in taken)


def _groups(options: Columns) -> dict[str, str]:
    """The columns of classes by their names; a single one has none."""
    if isinstance(options.classes, dict):
        return options.classes
    return {"": options.classes} if options.classes else {}


def _classes(sheet: pd.DataFrame, options: Columns) -> Iterable[tuple[str, str, str]]:
    """(label, its column, its word) of each class of each column of classes, in the order of their letters."""
    for group, column in _groups(options).items():
        there = sorted(set(sheet[f"={column}"]) - {""})
        for word in options.labels if options.labels and not group else there:
            yield (f"{group}={word}" if group else word), column, word


def _targets(found: Read) -> pd.DataFrame:
    """A target per label, from its own column or from a column of classes."""
    sheet, table = found.sheet, found.table
    remedy = (
        "use 1, 0 or nothing, or list the columns of labels by the option `labels`, and those of words by `classes`"
    )
    words = partial(mapped, table=table, remedy=remedy)
    read_ones = all_of(*(partial(words, sheet[f"={label}"], VALUES, column=label) for label in found.single))
    columns = {TARGET + label: ones.astype("float32") for label, ones in zip(found.single, read_ones, strict=True)}
    if "" in _groups(found.options) and found.options.labels:
        column, known = found.options.classes, found.options.labels
        remedy = f"use {', '.join(known)}, or nothing where it is unknown"
        mapped(sheet[f"={column}"], dict.fromkeys(("", *known)), column=column, table=table, remedy=remedy)
    for label, column, word in _classes(sheet, found.options):
        cells = sheet[f"={column}"]
        columns[TARGET + label] = (cells == word).astype("float32").where(cells != "")
    return pd.DataFrame(columns, index=sheet.index)


def mapped(cells: pd.Series, values: Mapping[str, Any], *, column: str, table: Path, remedy: str = "") -> pd.Series:
    """The value of each cell; a word without a value is refused with its line and column."""
    invalid = ~cells.isin(values.keys()).to_numpy()
    if invalid.any():
        words = ", ".join(sorted({repr(word) for word in values if word}))
        remedy = remedy or f"use {words} or nothing"
        raise bad_cell(table, line_of(cells, invalid), column, repr(cells[invalid].iloc[0]), remedy=remedy)
    return cells.map(values)


def numbers(cells: pd.Series, values: pd.Series, *, column: str, table: Path) -> pd.Series:
    """The numbers of cells, NaN for empty ones; a cell without a valid number is refused with its line and column."""
    invalid = (values.isna() & (cells != "")).to_numpy()
    if invalid.any():
        remedy = "use a plausible number, or nothing"
        raise bad_cell(table, line_of(cells, invalid), column, repr(cells[invalid].iloc[0]), remedy=remedy)
    return values.astype(float)


def _number(cells: pd.Series, *, column: str, table: Path) -> pd.Series:
    """The numbers of a column, float32; refuses those that are too large for it, or that it does not tell apart."""
    read = pd.to_numeric(cells, errors="coerce").astype(float)
    with np.errstate(over="ignore"):
        kept = read.astype("float32")
    told = numbers(cells, read.where(np.isfinite(kept)), column=column, table=table)
    rising = told.dropna().sort_values(kind="stable")
    gap, whole = rising.diff(), rising % 1 == 0
    alike = (gap > 0) & (kept[rising.index].diff() == 0)
    # digits that were only computed, such as those of a ratio, may go
    lost = alike & (whole & whole.shift(fill_value=False) | (gap > NEGLIGIBLE * (rising.max() - rising.min())))
    if lost.any():
        at = rising.index.get_loc(lost.idxmax())
        lower, upper = cells[rising.index[at - 1]], cells[rising.index[at]]
        line = line_of(cells, cells.index == rising.index[at])
        remedy = "subtract the same number from all, or give them in another unit"
        thing = f"{upper!r} is not told apart from {lower!r} in single precision"
        raise bad_cell(table, line, column, thing, remedy=remedy)
    return kept


def bad_cell(table: Path, line: int, column: str, thing: str, *, remedy: str) -> UserError:
    """The error for an invalid cell."""
    where = f"line {line}, column {column!r}"
    return UserError(f"{where}: {thing}", file=table, remedy=remedy, nameless=f"{where} is invalid")
