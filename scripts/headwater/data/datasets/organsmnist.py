"""OrganSMNIST of MedMNIST: 25,211 small sagittal crops of CT, each around one of eleven organs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from headwater.core.records import Record
from headwater.data.datasets import Card, _medmnist
from headwater.data.datasets._medmnist import PARTS as PARTS
from headwater.data.io.raster import grey_if_equal
from headwater.data.io.sheets import first_there

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
    organs = dict(enumerate(CARD.labels))
    return _medmnist.cases(file, organs, fits=lambda shape: len(shape) == 3 or shape[3:] == (3,), of="height, width")


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One crop: uint8 (height, width)."""
    return grey_if_equal(np.atleast_3d(_medmnist.image(folder, case)))
