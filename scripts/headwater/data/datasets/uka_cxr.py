"""UKA-CXR: 193,361 radiographs of intensive care patients in Aachen, graded by radiologists; the archive is private.

Its files are not published, so the layout here is our own, for those who have the images and for a twin of them:

    uka_cxr.csv            one row per image, with the columns
        image_id           images/<image_id>.png is the image
        patient_id
        study_id           may be empty
        split              train, validation, test, or empty in all rows
        sex, age           F, M or empty; years or empty
        <finding>          a grade from 1 (no) over 2 (questionable) and 3 (moderate) to 4 (severe), or empty
        healthy            1, 0 or empty
    images/
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.io.ages import in_years
from headwater.data.io.raster import read_picture
from headwater.data.io.sheets import first_there, read_sheet, refuse_empty, refuse_other, refuse_twice
from headwater.data.tables import SPLITS, TARGET

CARD = Card(
    title="UKA-CXR (private; in a schema of our own)",
    licence="private: University Hospital RWTH Aachen",
    citation=(
        "Khader F, Han T, Müller-Franzes G, et al. Artificial intelligence for clinical interpretation of bedside "
        "chest radiographs. Radiology 2023; 307: e220510."
    ),
    url="https://doi.org/10.1148/radiol.220510",
    modality="radiograph",
    task="multilabel",
    labels=(
        "cardiomegaly",
        "congestion",
        "pleural_effusion_right",
        "pleural_effusion_left",
        "pneumonic_infiltrates_right",
        "pneumonic_infiltrates_left",
        "atelectasis_right",
        "atelectasis_left",
        "healthy",
        "pleural_effusion",
        "pneumonic_infiltrates",
        "atelectasis",
    ),
    patients=True,
    expected={"cases": 193_361},
    note="synthetic schema of our own: the archive is private",
    hosted_logging=False,
)

TABLE = "uka_cxr.csv"

BOTH_SIDES = ("pleural_effusion", "pneumonic_infiltrates", "atelectasis")
"""Labels that are present if either side's is; the table does not have them."""

GRADED = tuple(label for label in CARD.labels if label not in (*BOTH_SIDES, "healthy"))

GRADES = ("1", "2", "3", "4")

COLUMNS = {
    "case": ("image_id",),
    "patient": ("patient_id",),
    "study": ("study_id",),
    "split": ("split",),
    "sex": ("sex",),
    "age": ("age",),
    **{label: (label,) for label in (*GRADED, "healthy")},
}

LABEL_OPTIONS = ("positive_from",)
"""Options that change labels only, neither images nor splits."""


class Options(Record):
    """Which grades count as present."""

    positive_from: int = Field(3, ge=2, le=4)
    """The lowest grade that counts as present; 3 in the published study."""


def label_files(folder: Path, options: Options) -> list[Path]:
    """The table of grades."""
    return [first_there(folder, names=[TABLE], remedy="lay the images out as described in datasets/uka_cxr.py")]


def sheets(folder: Path, options: Options) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of the table of grades."""
    return dict.fromkeys(label_files(folder, options), COLUMNS)


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per image of the table, in its order."""
    (table,) = label_files(folder, options)
    sheet = read_sheet(table, columns=COLUMNS)
    refuse_empty(sheet, columns=["case", "patient"], file=table)
    refuse_twice(sheet, columns=["case"], file=table)
    if (sheet["split"] != "").any():
        refuse_empty(sheet, columns=["split"], file=table)
    for columns, allowed in ((["split"], SPLITS), (["sex"], ("F", "M")), (["healthy"], ("0", "1")), (GRADED, GRADES)):
        remedy = "" if columns == ["split"] else f"{', '.join(allowed)} or nothing at all"
        refuse_other(sheet, columns=columns, known=("", *allowed), file=table, remedy=remedy)
    study = (sheet["patient"] + "/" + sheet["study"]).where(sheet["study"] != "", "")
    cases = sheet[["case", "patient", "split", "sex"]].assign(
        study=study,
        site="",
        file="images/" + sheet["case"] + ".png",
        age=sheet["age"].map(in_years).astype(float),
        # all radiographs were taken at the bedside
        view="AP",
    )
    return pd.concat([cases, _targets(sheet, positive_from=options.positive_from)], axis=1)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One radiograph: uint8 (height, width)."""
    return read_picture(folder / case["file"])


def _targets(sheet: pd.DataFrame, *, positive_from: int) -> pd.DataFrame:
    """1 from the given grade on, else 0, NaN without a grade."""
    grades = sheet[list(GRADED)].apply(pd.to_numeric)
    targets = (grades >= positive_from).astype(float).where(grades.notna())
    targets["healthy"] = pd.to_numeric(sheet["healthy"])
    for label in BOTH_SIDES:
        sides = targets[[f"{label}_right", f"{label}_left"]]
        # one positive side is enough for 1, but 0 needs both sides: an ungraded side may be positive
        targets[label] = sides.max(axis=1).where((sides == 1).any(axis=1) | sides.notna().all(axis=1))
    return targets[list(CARD.labels)].astype("float32").add_prefix(TARGET)
