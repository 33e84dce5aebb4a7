"""CT-ICH: head CT of 82 patients of a hospital in Hilla, each slice read by two radiologists for haemorrhage."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.core.errors import DiskError, UserError
from headwater.core.records import Record
from headwater.data.datasets import Card, _volumes
from headwater.data.io.ages import in_years
from headwater.data.io.folders import entries
from headwater.data.io.sheets import (
    first_there,
    line_of,
    read_header,
    read_sheet,
    refuse_empty,
    refuse_other,
    refuse_twice,
)
from headwater.data.io.slices import Slice, counted_from_feet, nifti_places
from headwater.data.tables import TARGET

CARD = Card(
    title="CT-ICH 1.3.1",
    licence="PhysioNet Restricted Health Data License 1.5.0; the paper says CC BY 4.0",
    citation=(
        "Hssayeni MD, Croock MS, Salman AD, et al. Intracranial Hemorrhage Segmentation Using a Deep Convolutional "
        "Model. Data 2020; 5: 14."
    ),
    url="https://physionet.org/content/ct-ich/1.3.1/",
    modality="ct",
    task="multilabel",
    labels=(
        "Intraventricular",
        "Intraparenchymal",
        "Subarachnoid",
        "Epidural",
        "Subdural",
        "No_Hemorrhage",
        "Fracture_Yes_No",
    ),
    patients=True,
    expected={"cases": 2_814, "patients": 75},
    window="brain",
    note="75 patients: bounds of what a test split of fifteen can show are wide.",
    hosted_logging=False,
)

READINGS, PERSONS = "hemorrhage_diagnosis_raw_ct.csv", "patient_demographics.csv"

VOLUMES = "ct_scans"

BESIDE = ("masks/*",)
"""Masks of haemorrhages."""

COLUMNS = {"patient": ("PatientNumber",), "slice": ("SliceNumber",), **{label: (label,) for label in CARD.labels}}

OLDER = ("Patients_CT", "hemorrhage_diagnosis.csv")
"""Files of an older release, in which the Hounsfield units are lost."""


def label_files(folder: Path, options: Record) -> list[Path]:
    """The readings, and the table of patients; an older release is refused by name."""
    if not (folder / READINGS).is_file() and any((folder / name).exists() for name in OLDER):
        older = "is the older release, of JPEG images without Hounsfield units"
        raise UserError(older, file=folder, remedy="fetch release 1.3.1 from PhysioNet", nameless=older)
    remedy = "fetch release 1.3.1 from PhysioNet, or correct the archive's folder"
    return [first_there(folder, names=[name], remedy=remedy) for name in (READINGS, PERSONS)]


def sheets(folder: Path, options: Record) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of both tables, those of patients in the spelling of the file."""
    readings, persons = label_files(folder, options)
    return {readings: COLUMNS, persons: _person_columns(persons)}


def read_cases(folder: Path, options: Record) -> pd.DataFrame:
    """The catalogue: one row per slice, patient by patient, with its reading if there is one."""
    table, person_file = label_files(folder, options)
    readings, persons = _readings(table), _persons(person_file)
    files = [file for file in entries(folder / VOLUMES) if file.match("*.nii*")]
    if not files:
        thing = f"has no {VOLUMES}/*.nii"
        raise UserError(thing, file=folder, remedy="fetch release 1.3.1 from PhysioNet", nameless=thing)
    listed = _volumes.listed(folder, [_volume(file, folder=folder) for file in files])
    names = pd.concat([_names(file, readings[readings["patient"] == _number(file)]) for file in files])
    by_case = readings.loc[names.index, list(CARD.labels)].set_axis(names.to_numpy())
    listed = pd.concat([listed, _beyond(listed, by_case.index)], ignore_index=True)
    targets = by_case.reindex(listed["case"]).add_prefix(TARGET).reset_index(drop=True)
    person = persons.reindex(listed["patient"]).reset_index(drop=True)
    metadata = {"sex": person["sex"].fillna(""), "age": person["age"], "study": "", "site": "", "split": "", "view": ""}
    return pd.concat([listed.assign(**metadata), targets], axis=1)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One slice: int16 (rows, columns), Hounsfield units; a file that is not made of axial slices is refused."""
    # called for its refusal: without axial slices it is unknown which slice was read
    counted_from_feet(folder / case["file"])
    return _volumes.read_pixels(folder, case)


def read_scan(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Slice]]:
    """(position among the rows, slice) of a volume; a file that is not made of axial slices is refused."""
    counted_from_feet(folder / rows[0]["file"])
    yield from _volumes.read_scan(folder, rows)


def _number(file: Path) -> str:
    """A patient's number as written in the tables, without leading zeros."""
    return file.name.partition(".")[0].lstrip("0")


def _volume(file: Path, *, folder: Path) -> dict[str, str]:
    """Patient, series and file of a volume, by its name."""
    name = file.name.partition(".")[0]
    return {"patient": name, "series": name, "file": str(file.relative_to(folder))}


def _names(file: Path, readings: pd.DataFrame) -> pd.Series:
    """The case names of these readings, which count slices in the order of the file; cases count from the feet."""
    series, numbers = file.name.partition(".")[0], readings["slice"].astype(int)
    try:
        if not counted_from_feet(file):
            count = len(nifti_places(file))
            # numbers beyond the volume are not mirrored into it, and become rejects
            numbers = numbers.where(numbers > count, count + 1 - numbers)
    except DiskError:
        raise
    except UserError:
        # it is unknown which slice was read; all slices of this file become rejects
        numbers = numbers[:0]
    return numbers.map(lambda number: _volumes.name(series, number)).astype(str)


def _beyond(listed: pd.DataFrame, read: pd.Index) -> pd.DataFrame:
    """A row for each reading of a slice that its volume does not have: it becomes a reject."""
    rows = []
    by_series = listed.drop_duplicates("series").set_index("series", drop=False)
    for case in read[~read.isin(listed["case"])]:
        volume = by_series.loc[case.rpartition("/")[0]]
        rows.append({**volume.to_dict(), "case": case, "position": np.nan})
    return pd.DataFrame(rows, columns=listed.columns)


def _readings(file: Path) -> pd.DataFrame:
    """The readings, with numbers as text without leading zeros."""
    sheet = read_sheet(file, columns=COLUMNS)
    refuse_empty(sheet, columns=list(sheet.columns), file=file)
    refuse_other(sheet, columns=CARD.labels, known=("0", "1", "0.0", "1.0"), file=file, remedy="0 or 1")
    sheet = sheet.assign(**{name: _whole(sheet[name], file=file, what=name) for name in ("patient", "slice")})
    refuse_twice(sheet, columns=["patient", "slice"], file=file)
    return sheet.astype(dict.fromkeys(CARD.labels, "float32"))


def _whole(cells: pd.Series, *, file: Path, what: str) -> pd.Series:
    """Whole numbers >= 1 as text without leading zeros or a decimal point."""
    numbers = cells.str.removesuffix(".0").str.lstrip("0")
    invalid = ~numbers.str.fullmatch(r"\d+")
    if invalid.any():
        thing = f"line {line_of(cells, invalid.to_numpy())}: {what} must be a whole number >= 1"
        raise UserError(thing, file=file, remedy="fetch it again", nameless=thing)
    return numbers


def _persons(file: Path) -> pd.DataFrame:
    """Sex and age by patient, named as the volumes; rows without a number, such as a second header, are left out."""
    sheet = read_sheet(file, columns=_person_columns(file))
    numbers = sheet["patient"].str.removesuffix(".0")
    sheet = sheet[numbers.str.fullmatch(r"\d+")].assign(patient=numbers.str.zfill(3))
    refuse_twice(sheet, columns=["patient"], file=file)
    sex = sheet["sex"].str.upper().str[:1]
    persons = {"sex": sex.where(sex.isin(["F", "M"]), ""), "age": sheet["age"].map(in_years)}
    return sheet.assign(**persons).set_index("patient")


def _person_columns(file: Path) -> dict[str, tuple[str, ...]]:
    """The columns of the table of patients, whose header has blanks, line breaks and units that differ by release."""
    prefixes = {"patient": "patientnumber", "age": "age", "sex": "gender"}
    return {name: tuple(_beginning(read_header(file), with_=prefix)) or (name,) for name, prefix in prefixes.items()}


def _beginning(header: list[str], *, with_: str) -> Iterator[str]:
    """The names of columns whose letters begin with a prefix."""
    for name in header:
        if "".join(filter(str.isalpha, name.lower())).startswith(with_):
            yield name
