"""A twin of OrganSMNIST: one NumPy archive with the images and labels of each split."""

from pathlib import Path

import numpy as np

from headwater.data.datasets.organsmnist import CARD, PARTS, file_of
from headwater.data.twin_folder import whole_folder
from headwater.data.twins import _slices
from headwater.data.twins._files import eight_bits
from headwater.data.twins._slices import Organ
from headwater.study.archive import Twin

SIGNS = {
    "bladder": Organ(width=0.55, height=0.50, light=0.48, grain=0.0),
    "femur-left": Organ(width=0.20, height=0.85, light=0.95, tilt=0.3),
    "femur-right": Organ(width=0.20, height=0.85, light=0.95, tilt=-0.3),
    "heart": Organ(width=0.70, height=0.60, light=0.68, tilt=0.6),
    "kidney-left": Organ(width=0.30, height=0.55, light=0.74, tilt=0.25, grain=0.05),
    "kidney-right": Organ(width=0.30, height=0.55, light=0.74, tilt=-0.25, grain=0.05),
    "liver": Organ(width=0.85, height=0.70, light=0.62, grain=0.03),
    "lung-left": Organ(width=0.70, height=0.90, light=0.08, tilt=0.2, grain=0.04),
    "lung-right": Organ(width=0.70, height=0.90, light=0.08, tilt=-0.2, grain=0.04),
    "pancreas": Organ(width=0.65, height=0.18, light=0.55, tilt=0.3, grain=0.04),
    "spleen": Organ(width=0.40, height=0.45, light=0.66),
}
"""The archive's classes in its own order, each with its appearance."""

SHARES = {"train": 0.55, "val": 0.10, "test": 0.35}
"""About the shares of the archive's splits."""


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """An OrganSMNIST archive of `cases` synthetic crops at `folder`, one per patient, as it states no patients."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="organsmnist", twin=twin) as temporary:
        numbers = iter(range(first_patient, first_patient + cases))
        arrays = {}
        for part, count in _counts(cases).items():
            drawn = [_crop(next(numbers), at=at, seed=seed, size=size) for at in range(count)]
            arrays[f"{part}_images"] = np.stack([picture for picture, _ in drawn])
            arrays[f"{part}_labels"] = np.array([[organ] for _, organ in drawn], np.uint8)
        # NumPy writes a fixed date, 1980, into the zip file, so that the same twin has the same bytes
        np.savez_compressed(temporary / file_of(size), **arrays)


def _counts(cases: int) -> dict[str, int]:
    """The number of images of each split, at least one."""
    others = {part: max(1, round(SHARES[part] * cases)) for part in PARTS if part != "train"}
    return {"train": cases - sum(others.values()), **others}


def _crop(number: int, *, at: int, seed: int, size: int) -> tuple[np.ndarray, int]:
    """One image, uint8 (size, size), and its organ; organs alternate, so that every split has all of them."""
    rng = _slices.rng_of("organsmnist", seed=seed, number=number)
    organ = at % len(CARD.labels)
    return eight_bits(_slices.organ(rng, SIGNS[CARD.labels[organ]], size=size)), organ
