"""CT-ICH: CT of the head of 82 patients of a hospital in Hilla, each slice read by two radiologists for bleedings."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import Card, _volumes
from headwater.data.io.ages import in_years
from headwater.data.io.sheets import first_there, read_header, read_sheet, refuse_empty, refuse_other, refuse_twice
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
"""What was drawn around bleedings."""

COLUMNS = {"patient": ("PatientNumber",), "slice": ("SliceNumber",), **{label: (label,) for label in CARD.labels}}

OLDER = ("Patients_CT", "hemorrhage_diagnosis.csv")
"""What an older release holds, of which the Hounsfield units are lost."""


def label_files(folder: Path, options: Record) -> list[Path]:
    """The readings, and the table of patients; an older release is refused by name."""
    if not (folder / READINGS).is_file() and any((folder / name).exists() for name in OLDER):
        older = "is the older release, of JPEG pictures without Hounsfield units"
        raise UserError(older, file=folder, remedy="fetch release 1.3.1 from PhysioNet", nameless=older)
    remedy = "fetch release 1.3.1 from PhysioNet, or mend the archive's folder"
    return [first_there(folder, names=[name], remedy=remedy) for name in (READINGS, PERSONS)]


def sheets(folder: Path, options: Record) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of both tables, those of patients as they happen to be spelt."""
    readings, persons = label_files(folder, options)
    return {readings: COLUMNS, persons: _spelt(persons)}


def read_cases(folder: Path, options: Record) -> pd.DataFrame:
    """The catalogue: one row per slice, patient by patient, with the reading of each slice that has one."""
    table, persons = label_files(folder, options)
    readings, known = _readings(table), _persons(persons)
    files = sorted((folder / VOLUMES).glob("*.nii*"))
    if not files:
        nothing = f"has no {VOLUMES}/*.nii"
        raise UserError(nothing, file=folder, remedy="fetch release 1.3.1 from PhysioNet", nameless=nothing)
    listed = _volumes.listed(folder, [_volume(file, folder=folder) for file in files])
    names = pd.concat([_names(file, readings[readings["patient"] == _number(file)]) for file in files])
    told = readings.loc[names.index, list(CARD.labels)].set_axis(names.to_numpy())
    listed = pd.concat([listed, _beyond(listed, told.index)], ignore_index=True)
    targets = told.reindex(listed["case"]).add_prefix(TARGET).reset_index(drop=True)
    person = known.reindex(listed["patient"]).reset_index(drop=True)
    told_of = {"sex": person["sex"].fillna(""), "age": person["age"], "study": "", "site": "", "split": "", "view": ""}
    return pd.concat([listed.assign(**told_of), targets], axis=1)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One slice: int16 (rows, columns), Hounsfield units; of a file that is not made of axial slices there is none."""
    counted_from_feet(folder / case["file"])
    return _volumes.read_pixels(folder, case)


def read_scan(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Slice]]:
    """What became of each listed slice of a volume; refused if its file is not made of axial slices."""
    counted_from_feet(folder / rows[0]["file"])
    yield from _volumes.read_scan(folder, rows)


def _number(file: Path) -> str:
    """A patient's number as it is written in tables."""
    return file.name.partition(".")[0].lstrip("0")


def _volume(file: Path, *, folder: Path) -> dict[str, str]:
    """What is known of a volume by its name."""
    name = file.name.partition(".")[0]
    return {"patient": name, "series": name, "file": str(file.relative_to(folder))}


def _names(file: Path, readings: pd.DataFrame) -> pd.Series:
    """What the slices of these readings are called: readings count from 1 as the file does, cases from the feet."""
    series, numbers = file.name.partition(".")[0], readings["slice"].astype(int)
    try:
        if not counted_from_feet(file):
            many = len(nifti_places(file))
            # what lies beyond the volume stays beyond it
            numbers = numbers.where(numbers > many, many + 1 - numbers)
    except UserError:
        # nobody can tell which slice was read, and all slices of this file will be rejects
        numbers = numbers[:0]
    return numbers.map(lambda number: _volumes.name(series, number)).astype(str)


def _beyond(listed: pd.DataFrame, read: pd.Index) -> pd.DataFrame:
    """A row for each slice that was read but is not in its volume: it will be a reject."""
    rows = []
    by_series = listed.drop_duplicates("series").set_index("series", drop=False)
    for case in read[~read.isin(listed["case"])]:
        volume = by_series.loc[case.rpartition("/")[0]]
        rows.append({**volume.to_dict(), "case": case, "position": np.nan})
    return pd.DataFrame(rows, columns=listed.columns)


def _readings(file: Path) -> pd.DataFrame:
    """The readings, numbers as text without zeros before them."""
    sheet = read_sheet(file, columns=COLUMNS)
    refuse_empty(sheet, columns=list(sheet.columns), file=file)
    refuse_other(sheet, columns=CARD.labels, known=("0", "1", "0.0", "1.0"), file=file, remedy="0 or 1")
    sheet = sheet.assign(**{name: _whole(sheet[name], file=file, what=name) for name in ("patient", "slice")})
    refuse_twice(sheet, columns=["patient", "slice"], file=file)
    return sheet.astype(dict.fromkeys(CARD.labels, "float32"))


def _whole(cells: pd.Series, *, file: Path, what: str) -> pd.Series:
    """Numbers from 1 on, in one spelling."""
    spelt = cells.str.removesuffix(".0").str.lstrip("0")
    wrong = ~spelt.str.fullmatch(r"\d+")
    if wrong.any():
        line = f"line {int(wrong.to_numpy().argmax()) + 2} has no {what} that is a number from 1 on"
        raise UserError(line, file=file, remedy="fetch it again", nameless=line)
    return spelt


def _persons(file: Path) -> pd.DataFrame:
    """Sex and age by patient, as the volumes are called; rows without a number, such as a second header, are none."""
    sheet = read_sheet(file, columns=_spelt(file))
    numbers = sheet["patient"].str.removesuffix(".0")
    sheet = sheet[numbers.str.fullmatch(r"\d+")].assign(patient=numbers.str.zfill(3))
    refuse_twice(sheet, columns=["patient"], file=file)
    sex = sheet["sex"].str.upper().str[:1]
    known = {"sex": sex.where(sex.isin(["F", "M"]), ""), "age": sheet["age"].map(in_years)}
    return sheet.assign(**known).set_index("patient")


def _spelt(file: Path) -> dict[str, tuple[str, ...]]:
    """The columns of the table of patients, however blanks, breaks and units stand in its header."""
    wanted = {"patient": "patientnumber", "age": "age", "sex": "gender"}
    return {name: tuple(_beginning(read_header(file), with_=word)) or (name,) for name, word in wanted.items()}


def _beginning(header: list[str], *, with_: str) -> Iterator[str]:
    """The names of columns whose letters begin so."""
    for name in header:
        if "".join(filter(str.isalpha, name.lower())).startswith(with_):
            yield name
