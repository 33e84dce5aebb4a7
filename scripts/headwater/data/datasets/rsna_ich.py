"""RSNA 2019 intracranial haemorrhage: slices of head CT, each labelled for five kinds of haemorrhage.

Only the header of a file states its patient and scan: to list the cases, the beginning of every file is read, which
takes an hour for the whole archive.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.core.errors import DiskError, UserError, did_you_mean
from headwater.core.progress import bar
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.io.folders import in_one_folder
from headwater.data.io.sheets import first_there, line_of, read_sheet, refuse_empty, refuse_other
from headwater.data.tables import TARGET

CARD = Card(
    title="RSNA Intracranial Hemorrhage Detection 2019, stage 2",
    licence="RSNA and Kaggle competition rules: non-commercial and academic use",
    citation=(
        "Flanders AE, Prevedello LM, Shih G, et al. Construction of a Machine Learning Dataset through Collaboration: "
        "The RSNA 2019 Brain CT Hemorrhage Challenge. Radiology: Artificial Intelligence 2020; 2: e190211."
    ),
    url="https://www.kaggle.com/c/rsna-intracranial-hemorrhage-detection",
    modality="ct",
    task="multilabel",
    labels=("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any"),
    patients=True,
    expected={"cases": 752_803},
    window="brain",
    note="Stage 2's test images have no published labels; splits are drawn from its training images.",
    hosted_logging=False,
)

TABLE, IMAGES = "stage_2_train.csv", "stage_2_train"

BESIDE = ("stage_2_test/*",)
"""Images without labels."""

COLUMNS = {"row": ("ID",), "target": ("Label",)}

HEADER = (
    *("PatientID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
)

WRAPPED = ("BitsStored", "PixelRepresentation", "RescaleIntercept")
"""Elements that identify wrapped values: 12 bits, unsigned, and an intercept above -100, as in public pipelines."""


def label_files(folder: Path, options: Record) -> list[Path]:
    """The table of labels."""
    return [first_there(folder, names=[TABLE], remedy="fetch stage 2 from Kaggle, or correct the archive's folder")]


def sheets(folder: Path, options: Record) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of that table."""
    return dict.fromkeys(label_files(folder, options), COLUMNS)


def read_cases(folder: Path, options: Record) -> pd.DataFrame:
    """The catalogue: one row per image of the table, scan by scan from the feet to the head.

    An image whose header cannot be read counts as a patient of its own, and becomes a reject.
    """
    (table,) = label_files(folder, options)
    targets = _targets(table)
    files = [f"{IMAGES}/{name}" for name in in_one_folder(folder / IMAGES, targets.index + ".dcm")]
    pairs = bar(zip(targets.index, files, strict=True), total=len(targets), what="headers of rsna_ich")
    headers = [_header(folder / file, case=case) for case, file in pairs]
    cases = pd.DataFrame(headers).assign(case=targets.index, file=files)
    listed = pd.concat([cases, targets.reset_index(drop=True)], axis=1)
    unknown = {"site": "", "split": "", "sex": "", "age": np.nan, "view": ""}
    order = ["patient", "study", "series", "position", "case"]
    return listed.assign(**unknown).sort_values(order, ignore_index=True)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One slice: int16 (rows, columns), Hounsfield units; values that some scanners' export wrapped are corrected."""
    # pydicom is slow to import, and planning reads no pixels
    from headwater.data.io.slices import read_slice, read_words

    pixels = read_slice(folder / case["file"])
    bits, signed, intercept = (_numbers(text) for text in read_words(folder / case["file"], WRAPPED).values())
    wrapped = bits.tolist() == [12] and signed.tolist() == [0] and (intercept > -100).any()
    return _unwrapped(pixels, intercept=int(intercept[0])) if wrapped else pixels


def _unwrapped(pixels: np.ndarray, *, intercept: int) -> np.ndarray:
    """Hounsfield units of twelve-bit values that were stored modulo 4096: air is 3096, and 3095 the highest value."""
    stored = pixels.astype(np.int32) - intercept
    return np.where(stored + 1000 >= 4096, stored - 4096, stored).astype(np.int16)


def _targets(file: Path) -> pd.DataFrame:
    """The labels by image, which has six rows, some of them repeated; contradicting repetitions are refused."""
    sheet = read_sheet(file, columns=COLUMNS)
    refuse_empty(sheet, columns=list(COLUMNS), file=file)
    refuse_other(sheet, columns=["target"], known=("0", "1"), file=file, remedy="0 or 1")
    parts = sheet["row"].str.rpartition("_")
    rows = pd.DataFrame({"case": parts[0], "label": parts[2], "target": sheet["target"]})
    _refuse_other_labels(rows, file=file)
    rows = rows.drop_duplicates()
    twice = rows.duplicated(["case", "label"])
    if twice.any():
        what = f"has both 0 and 1 for a label ({int(twice.sum())} such rows)"
        row = "_".join(rows.loc[twice, ["case", "label"]].iloc[0])
        raise UserError(f"{what}: {row}", file=file, remedy="fetch it again", nameless=what)
    targets = rows.set_index(["case", "label"])["target"].unstack().reindex(columns=list(CARD.labels))  # noqa: PD010
    if targets.isna().any(axis=None):
        lacking = targets.isna().any(axis=1)
        what = f"has fewer than six labels of an image ({int(lacking.sum())} such images)"
        remedy = "it may be cut off; fetch it again"
        raise UserError(f"{what}: {targets.index[lacking][0]}", file=file, remedy=remedy, nameless=what)
    return targets.astype("float32").add_prefix(TARGET)


def _refuse_other_labels(rows: pd.DataFrame, *, file: Path) -> None:
    """Refuse rows whose identifier ends in an unknown label."""
    unknown = ~rows["label"].isin(CARD.labels).to_numpy()
    if unknown.any():
        line, word = line_of(rows, unknown), rows["label"][unknown].iloc[0]
        nameless = f"line {line} names an unknown label ({int(unknown.sum())} such lines)"
        remedy = did_you_mean(word, CARD.labels)
        raise UserError(f"line {line} names the unknown label {word!r}", file=file, remedy=remedy, nameless=nameless)


def _header(path: Path, *, case: str) -> dict[str, str | float]:
    """The patient, study, series, position and spacing of a slice."""
    # pydicom is slow to import
    from headwater.data.io.slices import read_words

    try:
        header = read_words(path, HEADER)
    except DiskError:
        raise
    except UserError:
        header = dict.fromkeys(HEADER, "")
    position, orientation, spacing = (_numbers(header[name]) for name in HEADER[3:])
    placed = len(position) == 3 and len(orientation) == 6
    # the position along the slice's normal, which is right for tilted gantries as well
    height = float(position @ np.cross(orientation[:3], orientation[3:])) if placed else np.nan
    down, across = spacing if len(spacing) == 2 else (np.nan, np.nan)
    # without a number the case counts as its own patient and series
    patient, study, series = (header[name] or alone for name, alone in zip(HEADER[:3], (case, "", case), strict=True))
    return {
        **{"patient": patient, "study": study, "series": series},
        **{"position": height, "row_spacing": down, "column_spacing": across},
    }


def _numbers(text: str) -> np.ndarray:
    """The numbers of a DICOM element; empty if one of them is invalid."""
    try:
        return np.array([float(part) for part in text.strip("[]").replace(", ", "\\").split("\\") if part])
    except ValueError:
        return np.array([])
