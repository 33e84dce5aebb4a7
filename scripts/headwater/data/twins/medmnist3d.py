"""A twin of the volumes of MedMNIST: NumPy archives with the cubes and labels of each split, one for each flag."""

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from headwater.data.datasets.medmnist3d import FLAGS, PARTS, file_of
from headwater.data.twin_folder import whole_folder
from headwater.data.twins._files import eight_bits
from headwater.data.twins._slices import rng_of
from headwater.study.archive import Twin

SHARES = {"train": 0.70, "val": 0.10, "test": 0.20}
"""About the shares of the archives' splits."""

SHAPES = ("adrenal", "vessel")
"""Archives of shapes, whose voxels are 0 or 255."""


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 28) -> None:
    """Archives of `cases` synthetic cubes each at `folder`, of 64 voxels a side for a size of 64, else of 28."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=max(size, 32))
    sides = 64 if size == 64 else 28
    with whole_folder(folder, archive="medmnist3d", twin=twin) as temporary:
        for flag in FLAGS:
            numbers = iter(range(first_patient, first_patient + cases))
            arrays = {}
            for part, count in _counts(cases).items():
                drawn = [_cube(flag, next(numbers), at=at, seed=seed, sides=sides) for at in range(count)]
                arrays[f"{part}_images"] = np.stack([cube for cube, _ in drawn])
                arrays[f"{part}_labels"] = np.array([[number] for _, number in drawn], np.uint8)
            # NumPy writes a fixed date, 1980, into the zip file, so that the same twin has the same bytes
            np.savez_compressed(temporary / file_of(flag, sides), **arrays)


def _counts(cases: int) -> dict[str, int]:
    """The number of cubes of each split, at least one."""
    others = {part: max(1, round(SHARES[part] * cases)) for part in PARTS if part != "train"}
    return {"train": cases - sum(others.values()), **others}


def _cube(flag: str, number: int, *, at: int, seed: int, sides: int) -> tuple[np.ndarray, int]:
    """One cube, uint8 (sides, sides, sides), and its class; classes alternate, so that splits have all of them.

    A class is the length, width and brightness of an ellipsoid.
    """
    rng = rng_of(f"medmnist3d {flag}", seed=seed, number=number)
    of = at % len(FLAGS[flag].classes)
    share = (of + 1) / len(FLAGS[flag].classes)
    axes = np.meshgrid(*(np.linspace(-1, 1, sides),) * 3, indexing="ij", sparse=True)
    radii = np.array([0.25 + 0.5 * share, 0.75 - 0.4 * share, 0.5]) * rng.uniform(0.85, 1.15, 3)
    centre = rng.uniform(-0.15, 0.15, 3)
    inside = sum(((axis - place) / radius) ** 2 for axis, place, radius in zip(axes, centre, radii, strict=True)) <= 1
    if flag in SHAPES:
        return eight_bits(inside.astype(float)), of
    texture = gaussian_filter(rng.normal(size=inside.shape), 1.0)
    values = np.where(inside, 0.45 + 0.4 * share, 0.25) + 0.05 * texture / texture.std()
    return eight_bits(np.clip(values, 0, 1)), of
