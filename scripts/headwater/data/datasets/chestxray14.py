"""ChestX-ray14 of the NIH: 112,120 frontal chest radiographs of 30,805 patients, labels of 14 findings from reports."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.core.errors import UserError, did_you_mean
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.io.ages import in_years
from headwater.data.io.folders import composed, pictures_below
from headwater.data.io.raster import read_picture
from headwater.data.io.sheets import first_there, line_of, read_lines, read_sheet, refuse_empty, refuse_twice
from headwater.data.tables import TARGET

CARD = Card(
    title="ChestX-ray14",
    licence="NIH Clinical Center: no restriction on use, attribution asked",
    citation=(
        "Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers RM. ChestX-ray8: Hospital-scale chest X-ray database and "
        "benchmarks on weakly-supervised classification and localization of common thorax diseases. CVPR 2017."
    ),
    url="https://nihcc.app.box.com/v/ChestXray-NIHCC",
    modality="radiograph",
    task="multilabel",
    labels=(
        "Atelectasis",
        "Cardiomegaly",
        "Consolidation",
        "Edema",
        "Effusion",
        "Emphysema",
        "Fibrosis",
        "Hernia",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pleural_Thickening",
        "Pneumonia",
        "Pneumothorax",
    ),
    patients=True,
    expected={"cases": 112_120, "patients": 30_805, "train": 86_524, "test": 25_596},
)

OFFICIAL = ("test",)
SPLIT_FILES = {"train": "train_val_list.txt", "test": "test_list.txt"}

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
"""The names of the label file, newest first."""

COLUMNS = {
    "case": ("Image Index",),
    "findings": ("Finding Labels",),
    "patient": ("Patient ID",),
    "visit": ("Follow-up #",),
    "age": ("Patient Age",),
    "sex": ("Patient Gender", "Patient Sex"),
    "view": ("View Position",),
}

OPTIONAL = ("visit",)

NOTHING = "No Finding"


def label_files(folder: Path, options: Record) -> list[Path]:
    """The table of findings and the two official lists."""
    tables = [*TABLES, *sorted(file.name for file in folder.glob("Data_Entry_2017*.csv"))]
    remedy = "fetch it from the NIH, or correct the archive's folder"
    choices = [tables, *([name] for name in SPLIT_FILES.values())]
    return [first_there(folder, names=names, remedy=remedy) for names in choices]


def sheets(folder: Path, options: Record) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of the table of findings."""
    return {label_files(folder, options)[0]: COLUMNS}


def read_cases(folder: Path, options: Record) -> pd.DataFrame:
    """The catalogue: one row per image of the table, in its order; official training images are split "train"."""
    table, *lists = label_files(folder, options)
    sheet = read_sheet(table, columns=COLUMNS, optional=OPTIONAL)
    refuse_empty(sheet, columns=["case", "findings", "patient"], file=table)
    refuse_twice(sheet, columns=["case"], file=table)
    return pd.DataFrame(
        {
            "case": sheet["case"],
            "patient": sheet["patient"],
            "study": (sheet["patient"] + "/" + sheet["visit"]).where(sheet["visit"] != "", ""),
            "site": "",
            "file": _places(folder, cases=sheet["case"]),
            "split": _splits(sheet["case"], table=table, lists=lists),
            "sex": sheet["sex"],
            "age": sheet["age"].map(in_years).astype(float),
            "view": sheet["view"],
            **_targets(sheet["findings"], table=table),
        }
    )


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One radiograph: uint8 (height, width)."""
    return read_picture(folder / case["file"])


def _targets(findings: pd.Series, *, table: Path) -> dict[str, pd.Series]:
    """For each label 1 if the finding is listed, else 0."""
    listed = findings.str.replace(r"\s*\|\s*", "|", regex=True).str.get_dummies("|")
    allowed = (*CARD.labels, NOTHING)
    for finding in listed.columns:
        if finding not in allowed:
            lines = listed[finding].to_numpy()
            thing = f"line {line_of(findings, lines)} names an unknown finding"
            nameless, remedy = f"{thing} ({lines.sum()} such lines)", did_you_mean(finding, allowed)
            raise UserError(f"{thing} {finding!r}", file=table, remedy=remedy, nameless=nameless)
    return {TARGET + label: listed.get(label, pd.Series(0, listed.index)).astype("float32") for label in CARD.labels}


def _splits(cases: pd.Series, *, table: Path, lists: list[Path]) -> pd.Series:
    """The official split of each case; the lists together must have exactly the images of the table, each once."""
    split: dict[str, str] = {}
    for name, file in zip(SPLIT_FILES, lists, strict=True):
        listed = read_lines(file)
        both = [case for case in listed if case in split]
        if both:
            also = f"is also in {lists[0].name}"
            nameless, remedy = f"an image of it {also}", f"keep each image in one of them ({len(both)} in both)"
            raise UserError(f"{both[0]} {also}", file=file, remedy=remedy, nameless=nameless)
        unknown = sorted(set(listed) - set(cases))
        if unknown:
            absent = f"is not in {table.name} ({len(unknown)} such lines)"
            remedy, nameless = "use the lists and the table of one release", f"an image of it {absent}"
            raise UserError(f"{unknown[0]} {absent}", file=file, remedy=remedy, nameless=nameless)
        split |= dict.fromkeys(listed, name)
    unlisted = cases[~cases.isin(split.keys())]
    if len(unlisted):
        absent = f"is in neither {lists[0].name} nor {lists[1].name} ({len(unlisted)} such lines)"
        remedy, nameless = "use the lists and the table of one release", f"an image of it {absent}"
        raise UserError(f"{unlisted.iloc[0]} {absent}", file=table, remedy=remedy, nameless=nameless)
    return cases.map(split)


def _places(folder: Path, *, cases: pd.Series) -> pd.Series:
    """The path of each image below the folder; a missing one gets a path that cannot be read, and becomes a reject."""
    remedy = "unpack them to images_001/images ... or to images/"
    pictures = pictures_below(folder, within="images*", endings=(".png",), remedy=remedy)
    return cases.map(lambda case: pictures.get(composed(case), f"images_*/images/{case}"))
