"""PadChest: 160,868 chest radiographs of a hospital in Alicante, with findings that physicians or a model named.

A finding counts where a report's list names it or a term below it in the archive's tree of terms. Images whose list is
empty or absent, and those whose list says no more than that nothing has changed or that the report is unusable, are
unknown for every label.
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
from headwater.data.io.raster import pictures_below, read_picture
from headwater.data.io.sheets import first_there, read_sheet, refuse_empty, refuse_twice
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
"""The terms that count for a label beside the one of its own name."""

SAYS_NOTHING = {"exclude", "suboptimal study", "unchanged", ""}
"""Terms that tell nothing of what is to be seen."""

PHYSICIAN = "physician"

LABEL_OPTIONS = ("labelled_by",)
"""Options that say what labels mean, and change neither images nor splits."""


class Options(Record):
    """Whose labels count."""

    labelled_by: Literal["all", "physician"] = "all"
    """All cases, or only those whose findings a physician named: some 27 % of them; the others are left out."""


def label_files(folder: Path, options: Options) -> list[Path]:
    """The table of findings."""
    others = sorted(file.name for file in folder.glob("PADCHEST_*labels*.csv*"))
    names = [name + end for name in TABLES for end in ("", ".gz")] + others
    return [first_there(folder, names=names, remedy="fetch it from the BIMCV, or mend the archive's folder")]


def sheets(folder: Path, options: Options) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of the table of findings."""
    return dict.fromkeys(label_files(folder, options), COLUMNS)


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per image of the table, in its order.

    What stands nearest to a site is who made the apparatus.
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
    counted = _counted(sheet["labelled_by"], options=options, table=table)
    return pd.concat([cases, targets], axis=1)[counted].reset_index(drop=True)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One radiograph: uint8 (height, width)."""
    return read_picture(folder / case["file"])


def _counted(labelled_by: pd.Series, *, options: Options, table: Path) -> pd.Series:
    """Which rows the options ask for."""
    if options.labelled_by == "all":
        return pd.Series(True, labelled_by.index)
    counted = labelled_by.str.casefold() == PHYSICIAN
    if not counted.any():
        said = ", ".join(sorted(set(labelled_by)))
        what = "has no row whose MethodLabel is Physician"
        raise UserError(f"{what} (but {said})", file=table, remedy="labelled_by: all", nameless=what)
    return counted


def _places(folder: Path, sheet: pd.DataFrame) -> list[str]:
    """Where each image lies; what is not there keeps a place that reading will refuse."""
    remedy = "unpack them to 0/, 1/ ... as the archive's ImageDir says, or to one folder"
    found = pictures_below(folder, pattern="**/*.png", remedy=remedy)
    return [
        found.get(case, f"{directory}/{case}")
        for case, directory in zip(sheet["case"], sheet["directory"], strict=True)
    ]


def _ages(dates: pd.Series, births: pd.Series) -> pd.Series:
    """Years from the year of birth to that of the study; unknown where either is, or where they make no sense."""
    year, birth = (pd.to_numeric(years.str[:4], errors="coerce") for years in (dates, births))
    return (year - birth).map(lambda years: in_years(f"{years:.0f}")).astype(float)


def _targets(findings: pd.Series, *, table: Path) -> pd.DataFrame:
    """1 where a label or a term below it is named, 0 where others are, unknown where the list tells nothing."""
    lists = {text: _terms(text) for text in findings.unique()}
    strange = findings.map(lambda text: lists[text] is None).to_numpy()
    if strange.any():
        line = int(strange.argmax())
        raise UserError(
            f"line {line + 2} has no list of findings but {findings.iloc[line][:60]!r}",
            file=table,
            remedy="it may be cut off; fetch it again",
            nameless=f"line {line + 2} has no list of findings ({int(strange.sum())} such lines)",
        )
    values = pd.DataFrame.from_dict({text: _values(terms) for text, terms in lists.items()}, orient="index")
    told = values.loc[findings].set_axis([TARGET + label for label in CARD.labels], axis=1)
    return told.astype("float32").set_index(findings.index)


def _terms(text: str) -> set[str] | None:
    """The terms of a list in Python's spelling, less stray blanks and quotes; None if it is no such list."""
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
    """The value of each label, given what is named."""
    if "exclude" in terms or terms <= SAYS_NOTHING:
        return [np.nan] * len(CARD.labels)
    return [float(bool(terms & {label, *BELOW.get(label, ())})) for label in CARD.labels]
