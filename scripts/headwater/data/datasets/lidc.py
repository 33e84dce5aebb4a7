"""LIDC-IDRI: 1,018 chest CT of 1,010 patients from seven American centres, some with lung nodules.

Its slices are a corpus for pre-training. The annotations of four radiologists, in an XML file beside each CT, are not
read, and the chest radiographs of some patients are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.core.errors import DiskError, UserError
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.io.ages import in_years
from headwater.data.io.folders import entries, folders_in

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
"""Files of a series that are tried for its modality; if none can be read, its files are listed, and become rejects."""


def label_files(folder: Path, options: Record) -> list[Path]:
    """The first DICOM file, because cases are listed by the folders alone and no table exists."""
    for series in _series(folder):
        for file in _images(series):
            return [file]
    thing = f"has no {PATIENTS}/STUDY/SERIES/*.dcm"
    remedy = "fetch it from TCIA as DICOM, or correct the archive's folder"
    raise UserError(thing, file=folder, remedy=remedy, nameless=thing)


def read_cases(folder: Path, options: Record) -> pd.DataFrame:
    """The catalogue: one row per file of each CT series; the patient is that of the folder."""
    label_files(folder, options)
    rows = [row for series in _series(folder) for row in _files(series, folder=folder)]
    if not rows:
        raise UserError("has no series of CT", file=folder, remedy="fetch it again", nameless="has no series of CT")
    unknown = {"site": "", "split": "", "sex": "", "age": np.nan, "view": "", "position": np.nan}
    return pd.DataFrame(rows).assign(**unknown)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One slice: int16 (rows, columns), Hounsfield units."""
    # pydicom is slow to import, and planning reads no pixels
    from headwater.data.io.slices import read_slice

    return read_slice(folder / case["file"])


def read_scan(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Any]]:
    """(position among the rows, slice) of each file of a series, from the feet to the head.

    A slice whose header names another patient than its folder is rejected.
    """
    from headwater.data.io.slices import dicom_slices, read_words

    places = {folder / row["file"]: place for place, row in enumerate(rows)}
    for slice_ in dicom_slices(list(places)):
        place = places[slice_.file]
        if slice_.pixels is not None:
            header, patient = read_words(slice_.file, HEADER), rows[place]["patient"]
            if header["PatientID"] not in ("", patient):
                kind = "is of another patient than its folder says"
                slice_ = slice_._replace(pixels=None, reason=f"{slice_.file}: {kind}", kind=kind)
            sex = header["PatientSex"].upper()[:1]
            slice_ = slice_._replace(person={"sex": sex if sex in "FM" else "", "age": in_years(header["PatientAge"])})
        yield place, slice_


def _series(folder: Path) -> Iterator[Path]:
    """The folders of series, patient by patient."""
    home = folder / "LIDC-IDRI" if (folder / "LIDC-IDRI").is_dir() else folder
    for patient in folders_in(home, named=PATIENTS):
        for study in folders_in(patient):
            yield from folders_in(study)


def _images(series: Path) -> list[Path]:
    """The DICOM files of a series."""
    return [file for file in entries(series) if file.suffix.lower() == ".dcm"]


def _files(series: Path, *, folder: Path) -> Iterator[dict[str, str]]:
    """A row for each file of a series, if it is a CT or cannot be read."""
    files = _images(series)
    if _modality(files[:TRIED]) not in ("CT", ""):
        return
    patient, study = series.parent.parent.name, series.parent.name
    name = f"{patient}/{study}/{series.name}"
    for file in files:
        yield {
            **{"patient": patient, "study": study, "series": name},
            **{"case": f"{name}/{file.stem}", "file": str(file.relative_to(folder))},
        }


def _modality(files: Sequence[Path]) -> str:
    """The modality of the first of these files that can be read; "" if none can."""
    from headwater.data.io.slices import read_words

    for file in files:
        try:
            return read_words(file, ["Modality"])["Modality"].upper()
        except DiskError:
            raise
        except UserError:
            continue
    return ""
