"""FDG-PET-CT-Lesions: whole-body CT of 900 patients in Tübingen, from PET-CT, with one of three cancers or none."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import Card, _volumes
from headwater.data.io.ages import in_years
from headwater.data.io.folders import folders_in
from headwater.data.io.sheets import first_there, read_sheet, refuse_empty, refuse_other
from headwater.data.tables import TARGET

CARD = Card(
    title="FDG-PET-CT-Lesions",
    licence="CC BY 4.0, as others tell it; look it up at TCIA",
    citation=(
        "Gatidis S, Hepp T, Früh M, et al. A whole-body FDG-PET/CT Dataset with manually annotated Tumor Lesions. "
        "Scientific Data 2022; 9: 601."
    ),
    url="https://doi.org/10.7937/gkr0-xv29",
    modality="ct",
    task="multiclass",
    labels=("NEGATIVE", "LYMPHOMA", "MELANOMA", "LUNG_CANCER"),
    patients=True,
    expected={"patients": 900},
    window="chest",
    note="The diagnosis is that of the examination; most of its slices show nothing of it.",
)

TABLES = ("fdg_metadata.csv", "home/rakuest1/fdg_metadata.csv")
"""The table beside the images, or in the folders of the publisher's zip."""

IMAGES = "FDG-PET-CT-Lesions"

BESIDE = tuple(f"*/{name}.nii.gz" for name in ("CT", "CTres", "PET", "SUV", "SEG"))
"""The volumes of an examination, of which one is read."""

COLUMNS = {
    "patient": ("Subject ID",),
    "location": ("File Location",),
    "diagnosis": ("diagnosis",),
    "age": ("age",),
    "sex": ("sex",),
}
"""The columns of the table; only some releases have the location of each series, which identifies examinations."""

OPTIONAL = ("location",)

METADATA = ["diagnosis", "age", "sex"]


class Options(Record):
    """Which of an examination's CT volumes is read."""

    volume: Literal["CT", "CTres"] = "CT"
    """CT as acquired, as in arXiv 2410.14524, or resampled to the coarser grid of the PET."""


def label_files(folder: Path, options: Options) -> list[Path]:
    """The table of series."""
    remedy = "fetch it with the NIfTI release, or correct the archive's folder"
    return [first_there(folder, names=TABLES, remedy=remedy)]


def sheets(folder: Path, options: Options) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of that table."""
    return dict.fromkeys(label_files(folder, options), COLUMNS)


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per slice, examination by examination; the diagnosis is that of the examination."""
    (table,) = label_files(folder, options)
    examinations = _examinations(folder)
    volumes = [{**row, "file": f"{row['file']}/{options.volume}.nii.gz"} for row in examinations.to_dict("records")]
    listed = _volumes.listed(folder, volumes)
    metadata = _metadata(_sheet(table), examinations, file=table).loc[listed["series"]].reset_index(drop=True)
    diagnosis = metadata["diagnosis"]
    targets = {TARGET + label: (diagnosis == label).where(diagnosis != "").astype("float32") for label in CARD.labels}
    cases = listed.assign(site="", split="", sex=metadata["sex"], age=metadata["age"])
    return pd.concat([cases, pd.DataFrame(targets)], axis=1)


read_pixels = _volumes.read_pixels
read_scan = _volumes.read_scan


def _examinations(folder: Path) -> pd.DataFrame:
    """Patient, study, series and folder of each examination in the folder; a folder without any is refused."""
    home = folder / IMAGES if (folder / IMAGES).is_dir() else folder
    places = [study for patient in folders_in(home, named="PETCT_*") for study in folders_in(patient)]
    if not places:
        thing = "has no PETCT_*/STUDY folders"
        raise UserError(thing, file=home, remedy="fetch the NIfTI release", nameless=thing)
    rows = [
        {"patient": place.parent.name, "study": place.name, "series": f"{place.parent.name}/{place.name}"}
        for place in places
    ]
    return pd.DataFrame(rows).assign(file=[str(place.relative_to(folder)) for place in places])


def _sheet(file: Path) -> pd.DataFrame:
    """The lines of the table, with diagnoses in the spelling of our labels."""
    sheet = read_sheet(file, columns=COLUMNS, optional=OPTIONAL)
    refuse_empty(sheet, columns=["patient"], file=file)
    spelt = sheet["diagnosis"].str.upper().str.replace(r"[\s-]+", "_", regex=True)
    sheet = sheet.assign(diagnosis=spelt, sex=sheet["sex"].str.upper().str[:1])
    refuse_other(sheet, columns=["diagnosis"], known=("", *CARD.labels), file=file)
    return sheet.assign(sex=sheet["sex"].where(sheet["sex"].isin(["F", "M"]), ""), age=sheet["age"].map(in_years))


def _metadata(sheet: pd.DataFrame, examinations: pd.DataFrame, *, file: Path) -> pd.DataFrame:
    """Diagnosis, age and sex by series: from the lines with the examination's folder, else from all of its patient's.

    If a patient's lines disagree, it is unknown which belongs to the examination. Lines of one examination must agree.
    """
    sheet = sheet.assign(study=sheet["location"].map(_study_in))
    by_patient = sheet[["patient", *METADATA]].drop_duplicates().set_index("patient")
    by_study = sheet.loc[sheet["study"] != "", ["patient", "study", *METADATA]].drop_duplicates()
    by_study = by_study.set_index(by_study.pop("patient") + "/" + by_study.pop("study"))
    if by_study.index.duplicated().any():
        twice = by_study.index[by_study.index.duplicated()][0]
        thing = "has contradicting lines for one examination"
        raise UserError(f"{thing}, {twice}", file=file, remedy="keep the correct one", nameless=thing)
    rows = {}
    for examination in examinations.itertuples():
        series, patient = examination.series, examination.patient
        rows[series] = by_study.loc[series] if series in by_study.index else _agreed(by_patient, patient)
    return pd.DataFrame.from_dict(rows, orient="index")[METADATA]


def _study_in(location: str) -> str:
    """The folder of an examination in the path of one of its series; "" if it is not in the path."""
    # paths may have Windows separators
    parts = location.replace("\\", "/").strip("/").split("/")
    at = next((place for place, part in enumerate(parts) if part.startswith("PETCT_")), None)
    return parts[at + 1].strip() if at is not None and len(parts) > at + 1 else ""


def _agreed(by_patient: pd.DataFrame, patient: str) -> pd.Series:
    """The values on which all lines of a patient agree; the others are unknown."""
    lines = by_patient.loc[by_patient.index == patient]
    unknown = {"diagnosis": "", "age": np.nan, "sex": ""}
    # NaN is filled, as NaN differs from itself in a set
    agreed = {column: lines[column].iloc[0] for column in METADATA if len(set(lines[column].fillna(-1))) == 1}
    return pd.Series(unknown | agreed)
