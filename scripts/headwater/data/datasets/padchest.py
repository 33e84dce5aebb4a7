"""PadChest: 160,868 chest radiographs of a hospital in Alicante, labelled by physicians or by a model.

A label is present if a report's list has its term or one below it in the archive's tree of terms. Images whose list is
empty or absent, or only states that nothing has changed or that the report is unusable, are unknown for every label.
"""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.io.ages import in_years
from headwater.data.io.folders import composed, pictures_below
from headwater.data.io.raster import read_picture
from headwater.data.io.sheets import first_there, line_of, read_sheet, refuse_empty, refuse_twice
from headwater.data.tables import TARGET

CARD = Card(
    title="PadChest",
    licence="PadChest Dataset Research Use Agreement of the BIMCV (research only, no sharing)",
    citation=(
        "Bustos A, Pertusa A, Salinas JM, de la Iglesia-Vayá M. PadChest: A large chest x-ray image dataset with "
        "multi-label annotated reports. Medical Image Analysis 2020; 66: 101797."
    ),
    url="https://bimcv.cipf.es/bimcv-projects/padchest/",
    modality="radiograph",
    task="multilabel",
    labels=(
        "COPD signs",
        "aortic elongation",
        "atelectasis",
        "cardiomegaly",
        "consolidation",
        "emphysema",
        "fracture",
        "hiatal hernia",
        "hilar congestion",
        "infiltrates",
        "kyphosis",
        "nodule/mass",
        "normal",
        "pleural effusion",
        "pleural thickening",
        "pneumonia",
        "pneumothorax",
        "pulmonary edema",
        "pulmonary fibrosis",
        "scoliosis",
        "tuberculosis",
    ),
    patients=True,
    expected={"cases": 160_868, "patients": 67_625},
    hosted_logging=False,
)

TABLES = ("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", "PADCHEST_chest_x_ray_images_labels_160K.csv")
"""The names of the label file, newest first; each may be compressed (.gz)."""

COLUMNS = {
    "case": ("ImageID",),
    "directory": ("ImageDir",),
    "patient": ("PatientID",),
    "study": ("StudyID",),
    "site": ("Manufacturer_DICOM",),
    "date": ("StudyDate_DICOM",),
    "birth": ("PatientBirth",),
    "sex": ("PatientSex_DICOM",),
    "view": ("Projection",),
    "labelled_by": ("MethodLabel",),
    "findings": ("Labels",),
}

CONSOLIDATION = ("consolidation", "air bronchogram")

BELOW = {
    "aortic elongation": (
        *("ascendent aortic elongation", "descendent aortic elongation", "supra aortic elongation"),
        "aortic button enlargement",
    ),
    "atelectasis": (
        *("atelectasis basal", "laminar atelectasis", "lobar atelectasis", "round atelectasis"),
        *("segmental atelectasis", "total atelectasis"),
    ),
    "consolidation": CONSOLIDATION,
    "fracture": (
        *("callus rib fracture", "clavicle fracture", "humeral fracture", "rib fracture"),
        "vertebral fracture",
    ),
    "infiltrates": (
        *("alveolar pattern", *CONSOLIDATION, "ground glass pattern", "interstitial pattern", "miliary opacities"),
        *("reticular interstitial pattern", "reticulonodular interstitial pattern"),
    ),
    "nodule/mass": (
        *("breast mass", "mass", "mediastinal mass", "multiple nodules", "nodule", "pleural mass"),
        *("pulmonary mass", "soft tissue mass"),
    ),
    "pleural effusion": (
        *("empyema", "hemothorax", "hydropneumothorax", "loculated fissural effusion"),
        "loculated pleural effusion",
    ),
    "pleural thickening": ("apical pleural thickening", "calcified pleural thickening"),
    "pneumonia": ("atypical pneumonia",),
    "pneumothorax": ("hydropneumothorax",),
    "tuberculosis": ("tuberculosis sequelae",),
}
"""The terms that count for a label besides the term of its own name."""

UNINFORMATIVE = {"exclude", "suboptimal study", "unchanged", ""}
"""Terms that describe no finding, present or absent."""

PHYSICIAN = "physician"

LABEL_OPTIONS = ("labelled_by",)
FEWER_CASES = ("labelled_by",)
"""Options that change labels only, neither images nor splits, and that leave cases out."""

BITS = 16
"""The images fill 16 bits, so that none is brightened by itself."""


class Options(Record):
    """Whose labels are used."""

    labelled_by: Literal["all", "physician"] = "all"
    """All cases, or only those labelled by a physician, about 27 % of them; the others are left out."""


def label_files(folder: Path, options: Options) -> list[Path]:
    """The table of findings."""
    others = sorted(file.name for file in folder.glob("PADCHEST_*labels*.csv*"))
    names = [name + end for name in TABLES for end in ("", ".gz")] + others
    return [first_there(folder, names=names, remedy="fetch it from the BIMCV, or correct the archive's folder")]


def sheets(folder: Path, options: Options) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of the table of findings."""
    return dict.fromkeys(label_files(folder, options), COLUMNS)


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per image of the table, in its order.

    `site` is the manufacturer of the device, as the table states no site.
    """
    (table,) = label_files(folder, options)
    sheet = read_sheet(table, columns=COLUMNS)
    refuse_empty(sheet, columns=["case", "patient"], file=table)
    refuse_twice(sheet, columns=["case"], file=table)
    targets = _targets(sheet["findings"], table=table)
    cases = sheet[["case", "patient", "study", "site", "view"]].assign(
        file=_places(folder, sheet),
        split="",
        sex=sheet["sex"].where(sheet["sex"].isin(["F", "M"]), ""),
        age=_ages(sheet["date"], sheet["birth"]),
    )
    included = _included(sheet["labelled_by"], options=options, table=table)
    return pd.concat([cases, targets], axis=1)[included].reset_index(drop=True)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One radiograph: uint8 (height, width)."""
    return read_picture(folder / case["file"], bits=BITS)


def _included(labelled_by: pd.Series, *, options: Options, table: Path) -> pd.Series:
    """Whether each row is included by the options."""
    if options.labelled_by == "all":
        return pd.Series(True, labelled_by.index)
    included = labelled_by.str.casefold() == PHYSICIAN
    if not included.any():
        methods = ", ".join(sorted(set(labelled_by)))
        what = "has no row whose MethodLabel is Physician"
        raise UserError(f"{what} (but {methods})", file=table, remedy="set labelled_by: all", nameless=what)
    return included


def _places(folder: Path, sheet: pd.DataFrame) -> list[str]:
    """The path of each image; a missing one gets a path that cannot be read, and becomes a reject."""
    remedy = "unpack them to 0/, 1/ ... as in the archive's ImageDir, or to one folder"
    pictures = pictures_below(folder, endings=(".png",), remedy=remedy)
    return [
        pictures.get(composed(case), f"{directory}/{case}")
        for case, directory in zip(sheet["case"], sheet["directory"], strict=True)
    ]


def _ages(dates: pd.Series, births: pd.Series) -> pd.Series:
    """Years from the year of birth to that of the study; NaN if either is unknown or the age is impossible."""
    year, birth = (pd.to_numeric(years.str[:4], errors="coerce") for years in (dates, births))
    return (year - birth).map(lambda years: in_years(f"{years:.0f}")).astype(float)


def _targets(findings: pd.Series, *, table: Path) -> pd.DataFrame:
    """1 if a label or a term below it is listed, 0 if only others are, NaN if the list has no information."""
    # the same lists occur many times, and each is parsed once
    lists = {text: _terms(text) for text in findings.unique()}
    invalid = findings.map(lambda text: lists[text] is None).to_numpy()
    if invalid.any():
        line = line_of(findings, invalid)
        raise UserError(
            f"line {line} has no list of findings but {findings[invalid].iloc[0][:60]!r}",
            file=table,
            remedy="it may be cut off; fetch it again",
            nameless=f"line {line} has no list of findings ({int(invalid.sum())} such lines)",
        )
    values = pd.DataFrame.from_dict({text: _values(terms) for text, terms in lists.items()}, orient="index")
    targets = values.loc[findings].set_axis([TARGET + label for label in CARD.labels], axis=1)
    return targets.astype("float32").set_index(findings.index)


def _terms(text: str) -> set[str] | None:
    """The terms of a list in Python's syntax, without stray blanks and quotes; None if it is not such a list."""
    if text in ("", "nan"):
        return set()
    try:
        terms = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
        return None
    return {" ".join(term.strip(" '\"\t").split()) for term in terms}


def _values(terms: set[str]) -> list[float]:
    """The value of each label, given the terms of a list."""
    if "exclude" in terms or terms <= UNINFORMATIVE:
        return [np.nan] * len(CARD.labels)
    return [float(bool(terms & {label, *BELOW.get(label, ())})) for label in CARD.labels]
