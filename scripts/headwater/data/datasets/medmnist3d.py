"""The six archives of volumes of MedMNIST: cubes of 28 or 64 voxels a side, each of one class.

What is said of them here is that of the publisher's package (version 3.0.2); no file of theirs was read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from headwater.core.records import Record
from headwater.data.datasets import Card, _medmnist
from headwater.data.datasets._medmnist import PARTS as PARTS
from headwater.data.io.sheets import first_there
from headwater.data.io.volumes import Volume

CARD = Card(
    title="MedMNIST3D (MedMNIST v2)",
    licence="CC BY 4.0",
    citation=(
        "Yang J, Shi R, Wei D, et al. MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical "
        "image classification. Scientific Data 2023; 10: 41."
    ),
    url="https://medmnist.com",
    modality="CT",
    task="multiclass",
    labels=(),
    patients=False,
    ndim=3,
    note="its voxels have no millimetres: a spacing of 1 stands for one voxel",
)

MADE_FROM = {"flag": {"organ": ("lits",), "nodule": ("lidc",)}}
"""What the images of each flag were made from, of what the table of collections knows."""

OFFICIAL = ("validation", "test")

BESIDE = ("*mnist*.npz",)
"""The other archives of the publisher, which people keep in one folder."""


class Flag(NamedTuple):
    """One of the six archives."""

    title: str
    modality: str
    classes: tuple[str, ...]
    """by their numbers; of two, the second alone is a label"""
    cases: tuple[int, int, int]
    """published counts of train, validation and test"""
    note: str


FLAGS = {
    "organ": Flag(
        "OrganMNIST3D",
        "CT",
        (
            "liver",
            "kidney-right",
            "kidney-left",
            "femur-right",
            "femur-left",
            "bladder",
            "heart",
            "lung-right",
            "lung-left",
            "spleen",
            "pancreas",
        ),
        (971, 161, 610),
        "cut out of the CTs of LiTS: 115 scans for training, 16 for validation, 70 for test; it does not tell which",
    ),
    "nodule": Flag(
        "NoduleMNIST3D",
        "CT",
        ("benign", "malignant"),
        (1158, 165, 310),
        "nodules of LIDC-IDRI but those of malignancy 3; it does not tell which are of one patient",
    ),
    "adrenal": Flag(
        "AdrenalMNIST3D",
        "shapes from CT",
        ("normal", "hyperplasia"),
        (1188, 98, 298),
        "left and right glands of 792 patients, split by patient; it does not tell which belong together",
    ),
    "fracture": Flag(
        "FractureMNIST3D",
        "CT",
        ("buckle rib fracture", "nondisplaced rib fracture", "displaced rib fracture"),
        (1027, 103, 240),
        "fractures of RibFrac, of which a scan has several; it does not tell which belong together",
    ),
    "vessel": Flag(
        "VesselMNIST3D",
        "shapes from MRI",
        ("vessel", "aneurysm"),
        (1335, 191, 382),
        "segments of the vessels of 103 brains of IntrA; it does not tell which belong together",
    ),
    "synapse": Flag(
        "SynapseMNIST3D",
        "microscopy",
        ("inhibitory synapse", "excitatory synapse"),
        (1230, 177, 352),
        "synapses of one neuron of one rat",
    ),
}


class Options(Record):
    """Which of the six archives, and which size of it."""

    flag: Literal["organ", "nodule", "adrenal", "fracture", "vessel", "synapse"] = "organ"
    """The archive, as its file begins: organmnist3d.npz."""
    pixels: Literal[28, 64] = 28
    """Voxels along each side."""


def card(options: Options) -> Card:
    """The card by the options."""
    flag = FLAGS[options.flag]
    expected = dict(zip(("train", "validation", "test"), flag.cases, strict=True))
    described = {"title": f"{flag.title} (MedMNIST v2)", "modality": flag.modality, "note": f"{flag.note}; {CARD.note}"}
    counted = {"cases": sum(flag.cases), **expected}
    return CARD.model_copy(update={**described, "labels": labels(Path(), options), "expected": counted})


def labels(folder: Path, options: Options) -> tuple[str, ...]:
    """The classes; of two, the second one."""
    return tuple(name for name in classes_of(options.flag).values() if name)


def classes_of(flag: str) -> dict[int, str]:
    """The labels by their numbers in the arrays; "" for the first of two, which is the absence of the second."""
    classes = FLAGS[flag].classes
    return dict(enumerate(classes)) if len(classes) > 2 else {0: "", 1: classes[1]}


def label_files(folder: Path, options: Options) -> list[Path]:
    """The archive's one file, which holds images and labels."""
    remedy = "fetch it from Zenodo (10519652), or set another one by the options `flag` and `pixels`"
    return [first_there(folder, names=[file_of(options.flag, options.pixels)], remedy=remedy)]


def file_of(flag: str, pixels: int) -> str:
    """The name of the file with cubes of a size."""
    return f"{flag}mnist3d_64.npz" if pixels == 64 else f"{flag}mnist3d.npz"


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per volume, split by split in the order of the arrays; each counts as a patient."""
    (file,) = label_files(folder, options)
    sides = (options.pixels,) * 3
    return _medmnist.cases(file, classes_of(options.flag), fits=lambda shape: shape[1:] == sides, of=str(sides)[1:-1])


def read_volume(folder: Path, case: Mapping[str, Any], options: Options) -> Volume:
    """One cube as it is stored: its three axes count as right, front and head, though nobody says so."""
    voxels = _medmnist.image(folder, case).astype(np.float32)
    return Volume(voxels, np.diag([-1.0, -1.0, 1.0, 1.0]), "")
