"""VinDr-CXR: 18,000 frontal chest radiographs from two hospitals in Hanoi, with 28 labels by radiologists."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from headwater.core.errors import UserError, did_you_mean
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.io.folders import in_one_folder
from headwater.data.io.sheets import first_there, read_sheet, refuse_empty, refuse_other, refuse_twice
from headwater.data.tables import TARGET

CARD = Card(
    title="VinDr-CXR 1.0.0",
    licence="PhysioNet Credentialed Health Data License 1.5.0",
    citation=(
        "Nguyen HQ, Lam K, Le LT, et al. VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations. "
        "Scientific Data 2022; 9: 429."
    ),
    url="https://physionet.org/content/vindr-cxr/1.0.0/",
    modality="radiograph",
    task="multilabel",
    labels=(
        "Aortic enlargement",
        "Atelectasis",
        "Calcification",
        "Cardiomegaly",
        "Clavicle fracture",
        "Consolidation",
        "Edema",
        "Emphysema",
        "Enlarged PA",
        "ILD",
        "Infiltration",
        "Lung Opacity",
        "Lung cavity",
        "Lung cyst",
        "Mediastinal shift",
        "Nodule/Mass",
        "Pleural effusion",
        "Pleural thickening",
        "Pneumothorax",
        "Pulmonary fibrosis",
        "Rib fracture",
        "Other lesion",
        "COPD",
        "Lung tumor",
        "Pneumonia",
        "Tuberculosis",
        "Other diseases",
        "No finding",
    ),
    patients=False,
    expected={"cases": 18_000, "train": 15_000, "test": 3_000},
    hosted_logging=False,
)

OFFICIAL = ("test",)
SPLIT_FILES = {"train": "annotations/image_labels_train.csv", "test": "annotations/image_labels_test.csv"}

SPELLINGS = {"Other diseases": ("Other diseases", "Other disease")}
"""Labels whose spelling differs between the training and the test file."""

READINGS = {
    "case": ("image_id",),
    "reader": ("rad_id",),
    **{label: SPELLINGS.get(label, (label,)) for label in CARD.labels},
}
"""The columns of the training file; the test file has no readers."""

READERS = 3
"""How many radiologists read each training image."""

LABEL_OPTIONS = ("readers",)
"""Options that change labels only, neither images nor splits."""


class Options(Record):
    """Whose reading is used for the training images; the test images have a consensus."""

    readers: Literal[
        *("majority", "any", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9"),
        *("R10", "R11", "R12", "R13", "R14", "R15", "R16", "R17"),
    ] = "majority"
    """A label is present if most of the three readers gave it, or if any did, or if this reader did; in the last case
    training images of other readers are unknown."""


def label_files(folder: Path, options: Options) -> list[Path]:
    """The readings of the training images and the consensus of the test images."""
    remedy = "fetch it from PhysioNet, or correct the archive's folder"
    return [first_there(folder, names=[name], remedy=remedy) for name in SPLIT_FILES.values()]


def sheets(folder: Path, options: Options) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of the readings and of the consensus."""
    train, test = label_files(folder, options)
    return {train: READINGS, test: {name: READINGS[name] for name in READINGS if name != "reader"}}


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per image, training images first; each image counts as a patient."""
    train, test = label_files(folder, options)
    targets = pd.concat(
        [_joined(_readings(train, keys=["case", "reader"]), file=train, readers=options.readers), _consensus(test)],
        keys=SPLIT_FILES,
        names=["split", "case"],
    ).reset_index()
    twice = targets["case"].duplicated()
    if twice.any():
        case = targets.loc[twice, "case"].iloc[0]
        also = f"is also in {train.name}"
        nameless, remedy = f"an image of it {also} ({int(twice.sum())} such images)", "keep each image in one of them"
        raise UserError(f"{case} {also}", file=test, remedy=remedy, nameless=nameless)
    names = {"case": targets["case"], "patient": targets["case"]}
    listed = {split: targets.loc[targets["split"] == split, "case"] + ".dicom" for split in SPLIT_FILES}
    file = [f"{split}/{name}" for split in listed for name in in_one_folder(folder / split, listed[split])]
    unknown = {"study": "", "site": "", "sex": "", "age": np.nan, "view": ""}
    readings = targets[list(CARD.labels)].astype("float32").add_prefix(TARGET)
    return pd.concat([pd.DataFrame({**names, "file": file, "split": targets["split"], **unknown}), readings], axis=1)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One radiograph: uint8 (height, width), bright where dense."""
    # pydicom is slow to import, and planning reads no pixels
    from headwater.data.io.dicom import read_radiograph

    return read_radiograph(folder / case["file"])


def read_person(folder: Path, case: Mapping[str, Any]) -> dict[str, str | float]:
    """Sex and age from the header of the image; often empty."""
    from headwater.data.io.dicom import read_tags

    return read_tags(folder / case["file"])


def _readings(file: Path, *, keys: list[str]) -> pd.DataFrame:
    """A label file with 0 or 1 for each label, columns found by name."""
    sheet = read_sheet(file, columns={name: READINGS[name] for name in (*keys, *CARD.labels)})
    refuse_empty(sheet, columns=list(sheet.columns), file=file)
    refuse_twice(sheet, columns=keys, file=file)
    refuse_other(sheet, columns=CARD.labels, known=("0", "1", "0.0", "1.0"), file=file, remedy="0 or 1")
    return sheet.astype(dict.fromkeys(CARD.labels, "float32"))


def _joined(readings: pd.DataFrame, *, file: Path, readers: str) -> pd.DataFrame:
    """The readings of each image combined, independent of the order of rows; images by first appearance."""
    by_case = readings.groupby("case", sort=False)
    counts = by_case.size()
    if (counts != READERS).any():
        case = counts.index[counts != READERS][0]
        remedy = "the file may be cut off; fetch it again"
        nameless = f"{int((counts != READERS).sum())} images do not have {READERS} readings"
        thing = f"{case} has {counts[case]} readings, not {READERS}"
        raise UserError(thing, file=file, remedy=remedy, nameless=nameless)
    votes = by_case[list(CARD.labels)].sum()
    if readers in ("majority", "any"):
        return votes >= (1 if readers == "any" else READERS // 2 + 1)
    return _of_one(readings, reader=readers, file=file).reindex(votes.index)


def _of_one(readings: pd.DataFrame, *, reader: str, file: Path) -> pd.DataFrame:
    """The readings of one reader, by image."""
    if reader not in set(readings["reader"]):
        remedy, what = did_you_mean(reader, set(readings["reader"])), f"has no reading by {reader}"
        raise UserError(what, file=file, remedy=remedy, nameless=what)
    return readings.loc[readings["reader"] == reader].set_index("case")[list(CARD.labels)]


def _consensus(file: Path) -> pd.DataFrame:
    """The consensus of the test images."""
    return _readings(file, keys=["case"]).set_index("case") == 1
