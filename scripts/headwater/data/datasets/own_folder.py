"""A folder of your own: single images, and one CSV with the patient and the labels of each image."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.core.errors import UserError, all_of, did_you_mean
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.io.ages import in_years
from headwater.data.io.folders import as_on_disk
from headwater.data.io.raster import FORMATS, read_picture
from headwater.data.io.sheets import first_there, line_of, read_header, read_sheet, refuse_empty, refuse_twice
from headwater.data.tables import NUMBERS, TARGET

CARD = Card(
    title="A folder of one's own",
    licence="your own to know",
    citation="none",
    url="https://example.org/your-own",
    modality="image",
    task="multilabel",
    labels=(),
    patients=True,
    hosted_logging=False,
)

DICOMS = (".dcm", ".dicom")

PLACES = ("file", "patient", "study", "series", "position", "split", "sex", "age", "site", "view")
"""The columns that are not labels; the option of the same name gives each one's name in the CSV."""

NEEDED = ("file", "patient")

ODD_PATH = r"//|/$|(?:^|/)\.(?:/|$)"
"""Paths that can be written in a shorter way."""

SPLITS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}
SEXES = {"f": "F", "female": "F", "w": "F", "m": "M", "male": "M"}
VALUES = {"": np.nan, "0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}

NEGLIGIBLE = 1e-6
"""Difference of two numbers, as a share of their column's range, that may be lost when they are stored."""

LABEL_OPTIONS = ("table", "file", "labels", "classes", "numbers", "title", "licence", "modality")
"""Options that change labels only, neither images nor splits."""

PIXEL_OPTIONS = ("bits",)
"""Options on which the pixels depend."""


class Options(Record):
    """The names of the columns. A column that is set must be there; one of a default name is read if it is there."""

    table: str = "cases.csv"
    """The CSV below the folder: one line per image, the first line has the names of the columns."""
    file: str = "file"
    """Path of the image below the folder: PNG, JPEG, TIFF, PGM, or DICOM of one frame."""
    patient: str = "patient"
    """Patient of the image; "" if unknown, and each image then counts as a patient."""
    labels: tuple[str, ...] = ()
    """Columns with 1 (present), 0 (absent) or nothing (unknown); by default all that no other option names, and whose
    name is not that of an option."""
    classes: str = ""
    """A column with the one class of each image, instead of a column per label; `labels` may then list the classes."""
    numbers: tuple[str, ...] = ()
    """Columns with a number, such as an age or a score, or nothing (unknown): what the task `regression` learns.
    They are kept in single precision, about seven digits; whole numbers that it does not tell apart are refused."""
    split: str = "split"
    """train, validation or test; if empty in all lines, splits are drawn by patient."""
    study: str = "study"
    """The examination of an image."""
    series: str = "series"
    """The volume of a slice."""
    position: str = "position"
    """The position of a slice in its volume, along its normal."""
    sex: str = "sex"
    """F or M, or nothing."""
    age: str = "age"
    """Years, or as in DICOM (058Y), or nothing."""
    site: str = "site"
    """Hospital or device."""
    view: str = "view"
    """Projection, for the archive's `projections`."""
    title: str = "A folder of one's own"
    """The archive's name in tables."""
    licence: str = "your own to know"
    """The terms of use of the images."""
    modality: Literal["image", "radiograph", "CT", "MRI", "photograph"] = "image"
    """The kind of the images."""
    bits: Literal["guessed", 8, 10, 12, 14, 16] = "guessed"
    """Bits that the values of grey PNG and TIFF files in 16 bits have, such as 12: their highest value becomes white.
    By default the fewest that hold the values of the image itself, which may brighten a dark image."""
    numbering: str = Field("", json_schema_extra={"means": "numbering"})
    """Who assigned the patient numbers, such as the hospital: in archives of one numbering, equal numbers are one
    person. By default each folder has its own numbers."""


def card(options: Options) -> Card:
    """The card by the options."""
    described = {"title": options.title, "licence": options.licence, "modality": options.modality}
    task = "multiclass" if options.classes else "multilabel"
    patients = options.patient != ""
    return CARD.model_copy(update={**described, "task": task, "labels": options.labels, "patients": patients})


def labels(folder: Path, options: Options) -> tuple[str, ...]:
    """The labels by the options, or else by the table."""
    if options.labels:
        return options.labels
    (table,) = label_files(folder, options)
    if options.classes:
        sheet = read_sheet(table, columns={"class": (options.classes,)})
        return tuple(sorted(set(sheet["class"]) - {""}))
    taken = {*_named(options, table).values(), *PLACES, *options.numbers}
    return tuple(column for column in read_header(table) if column not in taken)


def numbers(options: Options) -> tuple[str, ...]:
    """The numbers by the options."""
    return options.numbers


def label_files(folder: Path, options: Options) -> list[Path]:
    """The table."""
    return [first_there(folder, names=[options.table], remedy="give the name of your CSV by the option `table`")]


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per line of the table, in its order; mistakes are reported with line and column."""
    catalogue = read_sample(folder, options, rows=None)
    # a few missing images are rejects; if all are missing, the paths are wrong
    if not any((folder / name).is_file() for name in catalogue["file"]):
        (table,) = label_files(folder, options)
        thing = f"{catalogue['file'].iloc[0]!r} does not exist, nor does any of the {len(catalogue)} images"
        first = line_of(catalogue, np.array([True]))
        raise _bad_cell(table, first, options.file, thing, remedy=f"give paths below {folder}")
    return catalogue


def read_sample(folder: Path, options: Options, *, rows: int | None) -> pd.DataFrame:
    """The catalogue of the first `rows` lines of the table and of as many others, whether or not the images exist."""
    (table,) = label_files(folder, options)
    named = _named(options, table)
    known = options.labels if options.classes and rows is not None else labels(folder, options)
    label_columns = [options.classes] if options.classes else list(known)
    # `=` keeps a label apart from a column of PLACES that has the same name
    columns = {place: (column,) for place, column in named.items()} | {f"={name}": (name,) for name in label_columns}
    columns |= {f"#{name}": (name,) for name in options.numbers}
    sheet = read_sheet(table, columns=columns, rows=rows)
    if options.classes:
        known = known or tuple(sorted(set(sheet[f"={options.classes}"]) - {""}))
    cells = pd.DataFrame({place: sheet.get(place, pd.Series("", index=sheet.index)) for place in PLACES})
    refuse_empty(cells, columns=[place for place in ("file", "patient") if place in named], file=table)
    # only of these, as it takes seconds for all paths of a large table
    odd = cells["file"].str.contains(ODD_PATH)
    listed = cells["file"].mask(odd, cells.loc[odd, "file"].map(lambda name: Path(name).as_posix()))
    _refuse_bad_names(folder, listed, column=named["file"], table=table)
    cells["file"] = as_on_disk(folder, listed)
    refuse_twice(cells, columns=["file"], file=table)
    if (cells["split"] != "").any():
        refuse_empty(cells, columns=["split"], file=table)
    words = partial(_mapped, table=table)
    heights = pd.to_numeric(cells["position"], errors="coerce")
    split, sex, age, height, targets = all_of(
        lambda: words(cells["split"].str.lower(), {"": "", **SPLITS}, column=options.split),
        lambda: words(cells["sex"].str.lower(), {"": "", **SEXES}, column=options.sex),
        lambda: _numbers(cells["age"], cells["age"].map(in_years), column=options.age, table=table),
        lambda: _numbers(cells["position"], heights, column=options.position, table=table) if "series" in named else 0,
        lambda: _targets(sheet, known, options=options, table=table),
    )
    told = all_of(*(partial(_number, sheet[f"#{name}"], column=name, table=table) for name in options.numbers))
    patient = cells["patient"].where(cells["patient"] != "", listed)
    placed = {"series": cells["series"], "position": height} if "series" in named else {}
    catalogue = cells.drop(columns=["series", "position"])
    catalogue = catalogue.assign(case=listed, patient=patient, split=split, sex=sex, age=age, **placed)
    columns_of_numbers = {NUMBERS + name: each for name, each in zip(options.numbers, told, strict=True)}
    return pd.concat([catalogue, targets, pd.DataFrame(columns_of_numbers, index=catalogue.index)], axis=1)


def read_pixels(folder: Path, case: Mapping[str, Any], *, bits: int | Literal["guessed"] = "guessed") -> np.ndarray:
    """One image: uint8 (height, width), or in colour (height, width, 3)."""
    path = folder / case["file"]
    if path.suffix.lower() in DICOMS:
        # pydicom is slow to import, and planning reads no pixels
        from headwater.data.io.dicom import read_radiograph

        return read_radiograph(path)
    return read_picture(path, formats=FORMATS[path.suffix.lower()], bits=bits)


def _named(options: Options, table: Path) -> dict[str, str]:
    """The column of each entry of PLACES that the table has; a missing column that is set or required is refused."""
    header = read_header(table)
    if not header:
        # which says why the table cannot be read
        read_sheet(table, columns={})
    asked = {place: getattr(options, place) for place in PLACES}
    required = [place for place in PLACES if place in options.model_fields_set or place in NEEDED]
    all_of(*(partial(_refuse_absent, asked[place], header, place=place, table=table) for place in required))
    return {place: column for place, column in asked.items() if column in header}


def _refuse_absent(column: str, header: list[str], *, place: str, table: Path) -> None:
    """Refuse a header without the column that an option names."""
    if column and column not in header:
        what = f"line 1 has no column {column!r}, which the option `{place}` names"
        remedy = f"set {place}: COLUMN; {did_you_mean(column, header)}"
        raise UserError(what, file=table, remedy=remedy, nameless=what)


def _refuse_bad_names(folder: Path, files: pd.Series, *, column: str, table: Path) -> None:
    """Refuse images in a format that is not read, and images outside of the folder."""
    readable = (*FORMATS, *DICOMS)
    suffixes = "|".join(map(re.escape, readable))
    for which, what, remedy in (
        (
            files.str.contains(r"^/|(?:^|/)\.\.(?:/|$)"),
            f"is outside of {folder}",
            "give a path below the archive's folder",
        ),
        (
            ~files.str.contains(rf"(?i)[^/](?:{suffixes})$"),
            "has no suffix of an image",
            f"use one of {', '.join(readable)}",
        ),
    ):
        if which.any():
            line, name = line_of(files, which.to_numpy()), files[which].iloc[0]
            raise _bad_cell(table, line, column, f"{name!r} {what}", remedy=remedy)


def _mapped(cells: pd.Series, values: Mapping[str, Any], *, column: str, table: Path, remedy: str = "") -> pd.Series:
    """The value of each cell; a word without a value is refused with its line and column."""
    invalid = ~cells.isin(values.keys()).to_numpy()
    if invalid.any():
        words = ", ".join(sorted({repr(word) for word in values if word}))
        remedy = remedy or f"use {words} or nothing"
        raise _bad_cell(table, line_of(cells, invalid), column, repr(cells[invalid].iloc[0]), remedy=remedy)
    return cells.map(values)


def _numbers(cells: pd.Series, numbers: pd.Series, *, column: str, table: Path) -> pd.Series:
    """The numbers of cells, NaN for empty ones; a cell without a valid number is refused with its line and column."""
    invalid = (numbers.isna() & (cells != "")).to_numpy()
    if invalid.any():
        remedy = "use a plausible number, or nothing"
        raise _bad_cell(table, line_of(cells, invalid), column, repr(cells[invalid].iloc[0]), remedy=remedy)
    return numbers.astype(float)


def _number(cells: pd.Series, *, column: str, table: Path) -> pd.Series:
    """The numbers of a column, float32; refuses those that are too large for it, or that it does not tell apart."""
    read = pd.to_numeric(cells, errors="coerce").astype(float)
    with np.errstate(over="ignore"):
        kept = read.astype("float32")
    told = _numbers(cells, read.where(np.isfinite(kept)), column=column, table=table)
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
        raise _bad_cell(table, line, column, thing, remedy=remedy)
    return kept


def _targets(sheet: pd.DataFrame, known: tuple[str, ...], *, options: Options, table: Path) -> pd.DataFrame:
    """A target per label, from its own column or from the column of classes."""
    if options.classes:
        classes = sheet[f"={options.classes}"]
        _mapped(classes, dict.fromkeys(known), column=options.classes, table=table, remedy=f"use {', '.join(known)}")
        return pd.DataFrame(
            {TARGET + label: (classes == label).astype("float32") for label in known}, index=sheet.index
        )
    remedy = "use 1, 0 or nothing, or list the columns of labels by the option `labels`"
    words = partial(_mapped, table=table, remedy=remedy)
    read = all_of(*(partial(words, sheet[f"={label}"], VALUES, column=label) for label in known))
    columns = zip(known, read, strict=True)
    return pd.DataFrame({TARGET + label: cells.astype("float32") for label, cells in columns}, index=sheet.index)


def _bad_cell(table: Path, line: int, column: str, thing: str, *, remedy: str) -> UserError:
    """The error for an invalid cell."""
    where = f"line {line}, column {column!r}"
    return UserError(f"{where}: {thing}", file=table, remedy=remedy, nameless=f"{where} is invalid")
