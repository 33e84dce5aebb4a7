"""LIDC-IDRI: 1,018 CT of the chest of 1,010 patients from seven American centres, some with nodules of the lung.

Its slices are a corpus to pre-train on. What four readers marked, in an XML file beside each CT, is not read, and the
chest radiographs of some patients are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.io.ages import in_years

CARD = Card(
    title="LIDC-IDRI",
    licence="CC BY 3.0",
    citation=(
        "Armato SG, McLennan G, Bidaut L, et al. The Lung Image Database Consortium (LIDC) and Image Database Resource "
        "Initiative (IDRI). Medical Physics 2011; 38: 915-931."
    ),
    url="https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX",
    modality="ct",
    task="multilabel",
    labels=(),
    patients=True,
    expected={"cases": 243_958, "patients": 1_010},
    window="lung",
    note="No labels are read of it: a corpus to pre-train on.",
)

PATIENTS = "LIDC-IDRI-[0-9]*"

HEADER = ("PatientID", "PatientSex", "PatientAge")

TRIED = 3
"""Files of a series of which one must tell what it is; if none does, its files are cases, and rejects."""


def label_files(folder: Path, options: Record) -> list[Path]:
    """The first DICOM file, because nothing but the folders themselves lists the cases."""
    for series in _series(folder):
        for file in sorted(series.glob("*.dcm")):
            return [file]
    nothing = f"has no {PATIENTS}/STUDY/SERIES/*.dcm"
    remedy = "fetch it from TCIA as DICOM, or mend the archive's folder"
    raise UserError(nothing, file=folder, remedy=remedy, nameless=nothing)


def read_cases(folder: Path, options: Record) -> pd.DataFrame:
    """The catalogue: one row per file of each CT series; the folder says whose it is."""
    label_files(folder, options)
    rows = [row for series in _series(folder) for row in _files(series, folder=folder)]
    if not rows:
        raise UserError("holds no series of CT", file=folder, remedy="fetch it again", nameless="holds no series of CT")
    unknown = {"site": "", "split": "", "sex": "", "age": np.nan, "view": "", "position": np.nan}
    return pd.DataFrame(rows).assign(**unknown)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One slice: int16 (rows, columns), Hounsfield units."""
    # pydicom is slow to import, and planning reads no pixels
    from headwater.data.io.slices import read_slice

    return read_slice(folder / case["file"])


def read_scan(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Any]]:
    """What became of each file of a series, by its place among the rows; slices from the feet to the head.

    A slice whose header names another patient than its folder is refused.
    """
    from headwater.data.io.slices import dicom_slices, read_words

    places = {folder / row["file"]: place for place, row in enumerate(rows)}
    for slice_ in dicom_slices(list(places)):
        place = places[slice_.file]
        if slice_.pixels is not None:
            told, patient = read_words(slice_.file, HEADER), rows[place]["patient"]
            if told["PatientID"] not in ("", patient):
                reason = f"{slice_.file}: is of another patient than its folder says"
                slice_ = slice_._replace(pixels=None, reason=reason)
            sex = told["PatientSex"].upper()[:1]
            slice_ = slice_._replace(person={"sex": sex if sex in "FM" else "", "age": in_years(told["PatientAge"])})
        yield place, slice_


def _series(folder: Path) -> Iterator[Path]:
    """The folders of series, patient by patient."""
    home = folder / "LIDC-IDRI" if (folder / "LIDC-IDRI").is_dir() else folder
    for patient in sorted(home.glob(PATIENTS)):
        yield from sorted(place for place in patient.glob("*/*") if place.is_dir())


def _files(series: Path, *, folder: Path) -> Iterator[dict[str, str]]:
    """A row for each file of a series, if that is a CT."""
    files = sorted(series.glob("*.dcm"))
    if _modality(files[:TRIED]) not in ("CT", ""):
        return
    patient, study = series.parent.parent.name, series.parent.name
    told = {"patient": patient, "study": study, "series": f"{patient}/{study}/{series.name}"}
    for file in files:
        yield {**told, "case": f"{told['series']}/{file.stem}", "file": str(file.relative_to(folder))}


def _modality(files: Sequence[Path]) -> str:
    """What the first of these files that can be read was taken with; "" where none can."""
    from headwater.data.io.slices import read_words

    for file in files:
        try:
            return read_words(file, ["Modality"])["Modality"].upper()
        except UserError:
            continue
    return ""
