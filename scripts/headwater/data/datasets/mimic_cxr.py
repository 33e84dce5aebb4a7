"""MIMIC-CXR-JPG: 377,110 chest radiographs of a hospital in Boston, with 14 labels from reports.

Labels are those of a report, and so of all images of its study. Releases 2.0.0 and 2.1.0 are read; the latter adds
labels by radiologists for some reports of the test split.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import Card, _mentions
from headwater.data.io.raster import read_picture
from headwater.data.io.sheets import first_there, read_sheet, refuse_empty, refuse_other, refuse_twice

CARD = Card(
    title="MIMIC-CXR-JPG 2.1.0",
    licence="PhysioNet Credentialed Health Data License 1.5.0",
    citation=(
        "Johnson AEW, Pollard TJ, Greenbaum NR, et al. MIMIC-CXR-JPG, a large publicly available database of labeled "
        "chest radiographs. arXiv 1901.07042, 2019."
    ),
    url="https://physionet.org/content/mimic-cxr-jpg/2.1.0/",
    modality="radiograph",
    task="multilabel",
    labels=(
        "Atelectasis",
        "Cardiomegaly",
        "Consolidation",
        "Edema",
        "Enlarged Cardiomediastinum",
        "Fracture",
        "Lung Lesion",
        "Lung Opacity",
        "No Finding",
        "Pleural Effusion",
        "Pleural Other",
        "Pneumonia",
        "Pneumothorax",
        "Support Devices",
    ),
    patients=True,
    expected={"cases": 377_110, "patients": 65_379, "validation": 2_991, "test": 5_159},
    hosted_logging=False,
)

OFFICIAL = ("validation", "test")
SPLIT_FILES = dict.fromkeys(("train", "validation", "test"), "mimic-cxr-2.0.0-split.csv.gz")

FILES = {
    "split": "mimic-cxr-2.0.0-split.csv",
    "metadata": "mimic-cxr-2.0.0-metadata.csv",
    "chexpert": "mimic-cxr-2.0.0-chexpert.csv",
    "negbio": "mimic-cxr-2.0.0-negbio.csv",
    "radiologists": "mimic-cxr-2.1.0-test-set-labeled.csv",
}
"""The tables, which may be compressed (.gz); those of 2.0.0 keep their names in 2.1.0."""

SPLITS = {"train": "train", "validate": "validation", "test": "test"}

SPELLINGS = {"Lung Opacity": ("Lung Opacity", "Airspace Opacity")}
"""Labels with another spelling in the radiologists' table."""

IMAGE = {"case": ("dicom_id",)}
IMAGES = IMAGE | {"patient": ("subject_id",), "study": ("study_id",), "split": ("split",)}
VIEWS = IMAGE | {"view": ("ViewPosition",)}
REPORTS = {"study": ("study_id",), **_mentions.columns(CARD.labels, spellings=SPELLINGS)}
"""The columns of each table."""

LABEL_OPTIONS = ("labeller", "test_labels", "uncertain", "missing")
"""Options that change labels only, neither images nor splits."""


class Options(Record):
    """Whose labels are used, and the label policy for uncertain and missing mentions."""

    labeller: Literal["chexpert", "negbio"] = "chexpert"
    """Which of the two programs labelled the reports."""
    test_labels: Literal["labeller", "radiologists"] = "labeller"
    """Who labelled the test split: the program, or radiologists (release 2.1.0). The latter labelled some of the test
    reports only; images of the others are then unknown."""
    uncertain: Literal["negative", "positive", "ignored"] = "negative"
    """A finding that the report calls uncertain (-1.0)."""
    missing: Literal["negative", "ignored"] = "negative"
    """A finding that the report does not mention (an empty cell). If ignored, No Finding is never negative. Images
    whose report was not labelled at all are always unknown."""


def label_files(folder: Path, options: Options) -> list[Path]:
    """The tables of splits, of projections and of the labels that are used."""
    return list(sheets(folder, options))


def sheets(folder: Path, options: Options) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of the tables that are read."""
    labellers = [options.labeller, *(["radiologists"] if options.test_labels == "radiologists" else [])]
    images = {_table(folder, "split"): IMAGES, _table(folder, "metadata"): VIEWS}
    return images | {_table(folder, labeller): REPORTS for labeller in labellers}


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per image of the table of splits, in its order."""
    images = _images(folder)
    policy = {"uncertain": options.uncertain, "missing": options.missing}
    targets = _targets(_table(folder, options.labeller), studies=images["study"], **policy)
    if options.test_labels == "radiologists":
        test = images["split"] == "test"
        table = _table(folder, "radiologists", remedy="fetch release 2.1.0, or set test_labels: labeller")
        targets[test] = _targets(table, studies=images.loc[test, "study"], **policy)
    return pd.concat([images, targets], axis=1)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One radiograph: uint8 (height, width)."""
    return read_picture(folder / case["file"])


def _names(folder: Path, which: str) -> list[Path]:
    """The names that a table may have in the folder."""
    return [folder / f"{FILES[which]}.gz", folder / FILES[which]]


def _table(folder: Path, which: str, *, remedy: str = "") -> Path:
    """The path of a table; refused if it is missing."""
    names = [file.name for file in _names(folder, which)]
    return first_there(folder, names=names, remedy=remedy or "fetch it from PhysioNet, or correct the archive's folder")


def _images(folder: Path) -> pd.DataFrame:
    """The catalogue without its targets."""
    table, metadata = _table(folder, "split"), _table(folder, "metadata")
    sheet, views = read_sheet(table, columns=IMAGES), read_sheet(metadata, columns=VIEWS)
    refuse_empty(sheet, columns=list(IMAGES), file=table)
    refuse_other(sheet, columns=["split"], known=SPLITS, file=table)
    for part, file in ((sheet, table), (views, metadata)):
        refuse_twice(part, columns=["case"], file=file)
    _refuse_other_images(sheet["case"], views["case"], table=table, metadata=metadata)
    patient, study = sheet["patient"], sheet["study"]
    file = "files/p" + patient.str[:2] + "/p" + patient + "/s" + study + "/" + sheet["case"] + ".jpg"
    view = sheet["case"].map(views.set_index("case")["view"])
    images = sheet.assign(file=file, split=sheet["split"].map(SPLITS), view=view)
    return images.assign(site="", sex="", age=np.nan)


def _refuse_other_images(listed: pd.Series, described: pd.Series, *, table: Path, metadata: Path) -> None:
    """Refuse two tables that do not name the same images."""
    for names, others, file, other in ((listed, described, metadata, table), (described, listed, table, metadata)):
        absent = names[~names.isin(others)]
        if len(absent):
            where = f"in {other.name} ({len(absent)} such images)"
            thing, nameless = f"lacks {absent.iloc[0]}, which is {where}", f"lacks an image which is {where}"
            raise UserError(thing, file=file, remedy="use the tables of one release", nameless=nameless)


def _targets(table: Path, *, studies: pd.Series, uncertain: str, missing: str) -> pd.DataFrame:
    """The labels of each image's study, unknown for studies that the table lacks; indexed as the images."""
    sheet = read_sheet(table, columns=REPORTS)
    refuse_empty(sheet, columns=["study"], file=table)
    refuse_twice(sheet, columns=["study"], file=table)
    targets = _mentions.targets(sheet, labels=CARD.labels, uncertain=uncertain, missing=missing, file=table)
    if not sheet["study"].isin(studies).any():
        thing = "labels no study of these images"
        raise UserError(thing, file=table, remedy="use the tables of one release", nameless=thing)
    return targets.set_index(sheet["study"]).reindex(studies).set_index(studies.index)
