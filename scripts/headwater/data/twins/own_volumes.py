"""A twin of a folder of own volumes: NIfTI files and folders of DICOM, with a CSV of labels, classes and numbers.

Volumes are those of the twin of `msd`. They lie in their files in any orientation, and masks in another than theirs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headwater.data.io.dicom_writing import identifier, write_mr_series
from headwater.data.io.nifti_writing import write_volume
from headwater.data.twin_folder import whole_folder
from headwater.data.twins._files import write_table
from headwater.data.twins._slices import rng_of
from headwater.data.twins.msd import STRUCTURES, outlined, picture
from headwater.study.archive import Twin

HEADER = ("file", "mask", "patient", "study", "sex", "age", "site", "Cyst", "stage", "volume")

OPTIONS: dict[str, Any] = {
    "patient": "patient",
    "structures": list(STRUCTURES),
    "labels": ["Cyst"],
    "classes": {"stage": "stage"},
    "numbers": ["volume"],
}
"""The options by which its table is read."""

STAGES = ("early", "late")
"""In late ones the organ is darker."""

BRIGHTEST = 2000
"""What is stored for white, in 12 bits."""

SAGITTAL = (0, 1, 0, 0, 0, -1)
"""Rows of a slice grow to the back, columns to the feet."""


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A folder of `cases` synthetic volumes of up to `size` voxels a side, one or two of each patient, with its CSV."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="own_volumes", twin=twin) as temporary:
        (temporary / "masks").mkdir()
        rows, number = [], first_patient
        while len(rows) < cases:
            rows += list(_rows(temporary, number, seed=seed, most=cases - len(rows), size=size))
            number += 1
        write_table(HEADER, rows, temporary / "cases.csv")


def _rows(folder: Path, number: int, *, seed: int, most: int, size: int) -> Iterator[tuple]:
    """The volumes of a patient as files; gives their lines of the CSV."""
    rng = rng_of("own_volumes", seed=seed, number=number)
    patient, sex, age = f"P{number:05d}", "FM"[int(rng.integers(2))], int(rng.integers(30, 80))
    for side in ("left", "right")[: min(most, 1 + number % 2)]:
        shape = tuple(int(length) for length in rng.integers(3 * size // 4, size, 3, endpoint=True))
        labels = outlined(shape, rng)
        cyst, late = rng.random() < 0.4, rng.random() < 0.5
        values = picture(labels, rng) * np.where((labels > 0) & late, 0.6, 1)
        if cyst:
            corner = tuple(slice(2, 2 + length // 4) for length in shape)
            values[corner] = 0.95
        name = f"{patient}_{side}"
        stored = np.rint(values * BRIGHTEST).astype(np.uint16)
        file = _as_series(stored, folder, patient, side) if number % 3 == 0 else _as_file(stored, folder, name, rng)
        mask = ""
        # of a few nobody drew the outlines, or said whether there is a cyst and in which stage
        if number % 8:
            mask = f"masks/{name}.nii.gz"
            _write(labels, folder / mask, flipped=rng.random(3) < 0.5, order=(0, 1, 2))
        told = ("", "") if number % 10 == 0 else (int(cyst), STAGES[int(late)])
        yield file, mask, patient, f"{patient}-{side}", sex, age, "Ulm", *told, f"{(labels > 0).sum() / 1000:.3f}"


def _as_file(stored: np.ndarray, folder: Path, name: str, rng: np.random.Generator) -> str:
    """A volume (x, y, z) as a NIfTI file with its axes in any order; gives its path."""
    _write(stored, folder / f"{name}.nii.gz", flipped=rng.random(3) < 0.5, order=rng.permutation(3))
    return f"{name}.nii.gz"


def _as_series(stored: np.ndarray, folder: Path, patient: str, side: str) -> str:
    """A volume (x, y, z) as a folder of sagittal slices without endings; gives its path."""
    place = folder / patient / side
    place.mkdir(parents=True)
    width, depth, height = stored.shape
    x = np.arange(width)
    # millimetres grow to the left and to the back in DICOM, and to the right and to the front here
    positions = np.stack([-x, np.full(width, 1 - depth), np.full(width, height - 1)], axis=1).astype(float)
    write_mr_series(
        stored[:, ::-1, ::-1].transpose(0, 2, 1),
        [place / f"{number:04d}" for number in range(width)],
        patient=patient,
        study=identifier("study", f"own_volumes {patient} {side}"),
        series=identifier("series", f"own_volumes {patient} {side}"),
        positions=positions,
        orientation=SAGITTAL,
        spacing=(1.0, 1.0),
    )
    return f"{patient}/{side}"


def _write(voxels: np.ndarray, path: Path, *, flipped: np.ndarray, order: Any) -> None:
    """Voxels (x, y, z) of 1 mm as a NIfTI file, with its axes in this order and some of them from end to begin."""
    affine = np.eye(4)
    for axis in np.flatnonzero(flipped):
        affine[axis, axis], affine[axis, 3] = -1, voxels.shape[axis] - 1
    turned = np.flip(voxels, np.flatnonzero(flipped)).transpose(order)
    write_volume(np.ascontiguousarray(turned), path, affine=affine[:, [*order, 3]])
