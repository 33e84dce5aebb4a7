"""OrganSMNIST of MedMNIST: 25,211 small sagittal crops of CT, each around one of eleven organs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.io.arrays import read_one, read_whole, shape_of
from headwater.data.io.raster import grey_if_equal
from headwater.data.io.sheets import first_there
from headwater.data.tables import TARGET

CARD = Card(
    title="OrganSMNIST (MedMNIST v2)",
    licence="CC BY 4.0",
    citation=(
        "Yang J, Shi R, Wei D, et al. MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical "
        "image classification. Scientific Data 2023; 10: 41."
    ),
    url="https://medmnist.com",
    modality="CT",
    task="multiclass",
    labels=(
        "bladder",
        "femur-left",
        "femur-right",
        "heart",
        "kidney-left",
        "kidney-right",
        "liver",
        "lung-left",
        "lung-right",
        "pancreas",
        "spleen",
    ),
    made_from=("lits",),
    patients=False,
    expected={"cases": 25_211, "train": 13_932, "validation": 2_452, "test": 8_827},
    note="cut out of the CTs of LiTS: 115 scans for training, 16 for validation, 70 for test; it does not tell which",
)

OFFICIAL = ("validation", "test")
PARTS = {"train": "train", "val": "validation", "test": "test"}
"""Names of splits in the arrays, and ours."""


class Options(Record):
    """Which of the four sizes is read."""

    pixels: Literal[28, 64, 128, 224] = 28
    """Width and height of the crops; the published study enlarges those of 28 pixels."""


def label_files(folder: Path, options: Options) -> list[Path]:
    """The archive's one file, which holds images and labels."""
    remedy = "fetch it from Zenodo (10519652), or set another size by the option `pixels`"
    return [first_there(folder, names=[file_of(options.pixels)], remedy=remedy)]


def file_of(pixels: int) -> str:
    """The name of the file with crops of a size."""
    return f"organsmnist_{pixels}.npz" if pixels in (64, 128, 224) else "organsmnist.npz"


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per image, split by split in the order of the arrays; each image counts as a patient."""
    (file,) = label_files(folder, options)
    parts = [_of_split(file, part, split=split) for part, split in PARTS.items()]
    return pd.concat(parts, ignore_index=True).assign(study="", site="", sex="", age=np.nan, view="")


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One crop: uint8 (height, width)."""
    part, _, number = case["case"].rpartition("-")
    if part not in PARTS or not number.isdecimal():
        raise UserError(f"{case['case']!r} is not an image of an array", remedy="prepare the archive again")
    return grey_if_equal(np.atleast_3d(read_one(folder / case["file"], f"{part}_images", position=int(number))))


def _of_split(file: Path, part: str, *, split: str) -> pd.DataFrame:
    """The cases of one split, each with one organ; refuses arrays that do not fit each other."""
    shape, kind = shape_of(file, f"{part}_images")
    if kind != np.uint8 or len(shape) not in (3, 4) or shape[3:] not in ((), (3,)):
        what = f"array '{part}_images' is {kind} {shape}, not uint8 (images, height, width)"
        raise UserError(what, file=file, remedy="fetch it again", nameless=what)
    organs = read_whole(file, f"{part}_labels").reshape(-1)
    if len(organs) != shape[0]:
        what = f"has {shape[0]} images and {len(organs)} labels in {split}"
        raise UserError(what, file=file, remedy="fetch it again", nameless=what)
    invalid = ~np.isin(organs, np.arange(len(CARD.labels)))
    if invalid.any():
        what = f"'{part}_labels' names no organ in row {int(invalid.argmax())} ({int(invalid.sum())} such rows)"
        remedy = f"organs are numbers from 0 to {len(CARD.labels) - 1}; fetch it again"
        raise UserError(what, file=file, remedy=remedy, nameless=what)
    names = pd.Series([f"{part}-{number:05d}" for number in range(len(organs))], dtype=str)
    cases = pd.DataFrame({"case": names, "patient": names, "file": file.name, "split": split})
    targets = {TARGET + label: (organs == number).astype("float32") for number, label in enumerate(CARD.labels)}
    return pd.concat([cases, pd.DataFrame(targets)], axis=1)
