"""A folder of your own: single images, and one CSV that says of each image whose it is and what it shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.core.errors import UserError, did_you_mean
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.io.ages import in_years
from headwater.data.io.raster import read_picture
from headwater.data.io.sheets import first_there, read_header, read_sheet, refuse_empty, refuse_twice
from headwater.data.tables import TARGET

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

PICTURES = (".png", ".jpg", ".jpeg")
TIFFS = (".tif", ".tiff")
DICOMS = (".dcm", ".dicom")

PLACES = ("file", "patient", "study", "series", "position", "split", "sex", "age", "site", "view")
"""The columns that are no label, each named by the option that is called so."""

NEEDED = ("file", "patient")

SPLITS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}
SEXES = {"f": "F", "female": "F", "w": "F", "m": "M", "male": "M"}
VALUES = {"": np.nan, "0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}

LABEL_OPTIONS = ("table", "file", "labels", "classes", "title", "licence", "modality")
"""Options that say what labels mean, and change neither images nor splits."""


class Options(Record):
    """Which column says what. A column that is named must be there; one of the default name is read where it is."""

    table: str = "cases.csv"
    """The CSV below the folder: a line per image, the first line names the columns."""
    file: str = "file"
    """Where the image lies below the folder: PNG, JPEG, TIFF, or DICOM of one frame."""
    patient: str = "patient"
    """Whose image it is; "" says that nobody knows, and each image stands for a patient."""
    labels: tuple[str, ...] = ()
    """Columns that hold 1 (present), 0 (absent) or nothing (unknown); none takes all that no other option names, and
    that are not called like one."""
    classes: str = ""
    """A column that names the one class of each image, in place of a column per label; `labels` may then list them."""
    split: str = "split"
    """train, validation or test; nothing in any line draws them by patient."""
    study: str = "study"
    """The examination that an image belongs to."""
    series: str = "series"
    """The volume that a slice belongs to."""
    position: str = "position"
    """Where in its volume a slice lies, along its normal."""
    sex: str = "sex"
    """F or M, or nothing."""
    age: str = "age"
    """Years, or as in DICOM (058Y), or nothing."""
    site: str = "site"
    """Hospital or device."""
    view: str = "view"
    """Projection, for the archive's `projections`."""
    title: str = "A folder of one's own"
    """What tables call this archive."""
    licence: str = "your own to know"
    """Under which terms the images may be used."""
    modality: Literal["image", "radiograph", "CT", "MRI", "photograph"] = "image"
    """What the images are."""
    numbering: str = Field("own_folder", json_schema_extra={"means": "numbering"})
    """Who numbers the patients: in archives of one numbering a number is one person."""


def card(options: Options) -> Card:
    """What the options say of the archive."""
    told = {"title": options.title, "licence": options.licence, "modality": options.modality}
    task = "multiclass" if options.classes else "multilabel"
    return CARD.model_copy(update={**told, "task": task, "labels": options.labels, "patients": options.patient != ""})


def labels(folder: Path, options: Options) -> tuple[str, ...]:
    """The labels that the options name, or else the table."""
    if options.labels:
        return options.labels
    (table,) = label_files(folder, options)
    if options.classes:
        sheet = read_sheet(table, columns={"class": (options.classes,)})
        return tuple(sorted(set(sheet["class"]) - {""}))
    taken = {*_named(options, table).values(), *PLACES}
    return tuple(column for column in read_header(table) if column not in taken)


def label_files(folder: Path, options: Options) -> list[Path]:
    """The table."""
    return [first_there(folder, names=[options.table], remedy="name your CSV by the option `table`")]


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per line of the table, in its order; every mistake is told with its line and column."""
    (table,) = label_files(folder, options)
    named, known = _named(options, table), labels(folder, options)
    answers = [options.classes] if options.classes else list(known)
    columns = {place: (column,) for place, column in named.items()} | {f"={name}": (name,) for name in answers}
    sheet = read_sheet(table, columns=columns)
    cells = pd.DataFrame({place: sheet.get(place, pd.Series("", index=sheet.index)) for place in PLACES})
    refuse_empty(cells, columns=[place for place in ("file", "patient") if place in named], file=table)
    cells["file"] = cells["file"].map(lambda name: Path(name).as_posix())
    refuse_twice(cells, columns=["file"], file=table)
    _refuse_strange_files(folder, cells["file"], column=named["file"], table=table)
    if (cells["split"] != "").any():
        refuse_empty(cells, columns=["split"], file=table)
    catalogue = cells.assign(
        case=cells["file"],
        patient=cells["patient"].where(cells["patient"] != "", cells["file"]),
        split=_said(cells["split"].str.lower(), {"": "", **SPLITS}, column=options.split, table=table),
        sex=_said(cells["sex"].str.lower(), {"": "", **SEXES}, column=options.sex, table=table),
        age=_numbers(cells["age"], cells["age"].map(in_years), column=options.age, table=table),
    ).drop(columns=["series", "position"])
    if "series" in named:
        place = pd.to_numeric(cells["position"], errors="coerce")
        place = _numbers(cells["position"], place, column=options.position, table=table)
        catalogue = catalogue.assign(series=cells["series"], position=place)
    return pd.concat([catalogue, _targets(sheet, known, options=options, table=table)], axis=1)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One image: uint8 (height, width), or with colours (height, width, 3)."""
    path = folder / case["file"]
    if path.suffix.lower() in DICOMS:
        # pydicom is slow to import, and planning reads no pixels
        from headwater.data.io.dicom import read_radiograph

        return read_radiograph(path)
    return read_picture(path, formats=("TIFF",) if path.suffix.lower() in TIFFS else ("PNG", "JPEG"))


def _named(options: Options, table: Path) -> dict[str, str]:
    """The column of each thing that the table tells; refuses one that is asked for and not there."""
    header = read_header(table)
    named = {}
    for place in PLACES:
        column = getattr(options, place)
        asked = place in options.model_fields_set or place in NEEDED
        if column and asked and column not in header:
            what = f"line 1 has no column {column!r}, which the option `{place}` names"
            remedy = f"say {place}: COLUMN; {did_you_mean(column, header)}"
            raise UserError(what, file=table, remedy=remedy, nameless=what)
        if column in header:
            named[place] = column
    return named


def _refuse_strange_files(folder: Path, files: pd.Series, *, column: str, table: Path) -> None:
    """Refuse images of a form that is not read, that lie elsewhere, or of which not one is there."""
    known = (*PICTURES, *TIFFS, *DICOMS)
    for line, name in enumerate(files, start=2):
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            remedy = "say where it lies below the archive's folder"
            raise _wrong(table, line, column, f"{name!r} leads out of {folder}", remedy=remedy)
        if path.suffix.lower() not in known:
            remedy = f"{', '.join(known)} are read"
            raise _wrong(table, line, column, f"{name!r} is no image by its ending", remedy=remedy)
    if not any((folder / name).is_file() for name in files):
        what = f"{files.iloc[0]!r} is not there, nor any of the {len(files)} images"
        raise _wrong(table, 2, column, what, remedy=f"paths start from {folder}")


def _said(cells: pd.Series, words: Mapping[str, Any], *, column: str, table: Path, remedy: str = "") -> pd.Series:
    """What each cell means; refuses a word that means nothing, by its line and column."""
    strange = ~cells.isin(words.keys()).to_numpy()
    if strange.any():
        line = int(strange.argmax())
        known = ", ".join(sorted({repr(word) for word in words if word}))
        raise _wrong(table, line + 2, column, repr(cells.iloc[line]), remedy=remedy or f"say {known} or nothing at all")
    return cells.map(words)


def _numbers(cells: pd.Series, numbers: pd.Series, *, column: str, table: Path) -> pd.Series:
    """Numbers where cells hold something; refuses a cell that makes none, by its line and column."""
    strange = (numbers.isna() & (cells != "")).to_numpy()
    if strange.any():
        line = int(strange.argmax())
        raise _wrong(
            table, line + 2, column, repr(cells.iloc[line]), remedy="say a number that makes sense, or nothing"
        )
    return numbers.astype(float)


def _targets(sheet: pd.DataFrame, known: tuple[str, ...], *, options: Options, table: Path) -> pd.DataFrame:
    """A target per label: of its own column, or of the column that names the class."""
    if options.classes:
        said = sheet[f"={options.classes}"]
        _said(said, dict.fromkeys(known), column=options.classes, table=table, remedy=f"say {', '.join(known)}")
        return pd.DataFrame({TARGET + label: (said == label).astype("float32") for label in known})
    remedy = "say 1, 0 or nothing, or list the columns of findings by the option `labels`"
    read = {label: _said(sheet[f"={label}"], VALUES, column=label, table=table, remedy=remedy) for label in known}
    return pd.DataFrame({TARGET + label: column.astype("float32") for label, column in read.items()}, index=sheet.index)


def _wrong(table: Path, line: int, column: str, what: str, *, remedy: str) -> UserError:
    """A cell that makes no sense."""
    where = f"line {line}, column {column!r}"
    return UserError(f"{where}: {what}", file=table, remedy=remedy, nameless=f"{where} makes no sense")
