"""A twin of a task of the Medical Segmentation Decathlon: MR of a smooth organ of two parts, as the hippocampus has.

Files are as awkward as the real ones: some are stored as bytes and some as floats, in units that differ by a thousand,
and some from left to right and some the other way.
"""

import json
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from headwater.data.datasets.msd import FILE
from headwater.data.io.nifti_writing import write_volume
from headwater.data.twin_folder import whole_folder
from headwater.data.twins._slices import rng_of
from headwater.study.archive import Twin

STRUCTURES = ("Anterior", "Posterior")

BRIGHT = (0.75, 0.55)
"""Brightness of the two parts; what lies around them has up to 0.45."""

ORGAN = (0.42, 0.62, 0.4)
"""Radii as shares of the sides."""

LONE_FROM = 300
"""In twins of at least so many cases one has no mask and one no image: fewer than `prepare_volumes` rejects at most."""


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A task of `cases` synthetic volumes of up to `size` voxels a side at `folder`, each of another patient."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="msd", twin=twin) as temporary:
        names = [f"organ_{number:03d}.nii.gz" for number in range(first_patient, first_patient + cases)]
        for part in ("imagesTr", "labelsTr"):
            (temporary / part).mkdir()
        for number, name in enumerate(names, start=first_patient):
            _write(temporary, name, rng_of("msd", seed=seed, number=number), size=size)
        if cases >= LONE_FROM:
            (temporary / "labelsTr" / names[-1]).unlink()
            (temporary / "imagesTr" / names[-2]).unlink()
        (temporary / FILE).write_text(json.dumps(_described(names), indent=1))


def _described(names: list[str]) -> dict:
    """The content of dataset.json."""
    pairs = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    values = dict(enumerate(("background", *STRUCTURES)))
    return {
        "name": "Organ",
        "description": "A synthetic organ of two parts",
        "licence": "none",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {str(value): name for value, name in values.items()},
        "numTraining": len(names),
        "numTest": 0,
        "training": pairs,
        "test": [],
    }


def _write(folder: Path, name: str, rng: np.random.Generator, *, size: int) -> None:
    """A volume and its mask."""
    shape = tuple(int(side) for side in rng.integers(3 * size // 4, size, 3, endpoint=True))
    labels = outlined(shape, rng)
    values = picture(labels, rng)
    as_bytes, from_left = rng.random() < 0.3, rng.random() < 0.5
    stored = np.rint(255 * values).astype(np.uint8) if as_bytes else (values * 10 ** rng.uniform(2, 5)).astype("<f4")
    step = 1 if from_left else -1
    affine = np.diag([step, 1.0, 1.0, 1.0])
    # the first voxel of a volume that is stored from right to left is the last one
    affine[0, 3] = 0 if from_left else shape[0] - 1
    write_volume(stored[::step], folder / "imagesTr" / name, affine=affine)
    write_volume(labels[::step], folder / "labelsTr" / name, affine=affine)


def outlined(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """The label map of an organ, uint8 (x, y, z) in orientation RAS: its front part and its back part."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    centre, radii = rng.uniform(-0.25, 0.25, 3), np.array(ORGAN) * rng.uniform(0.8, 1.25, 3)
    bend, turn = rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4)
    along, across = (y - centre[1]) / radii[1], x - centre[0]
    # bent like a sea horse
    across, up = (across - bend * along**2 * radii[0]) / radii[0], (z - centre[2] - turn * along * radii[2]) / radii[2]
    inside = across**2 + along**2 + up**2 <= 1
    return np.where(inside, np.where(along > rng.uniform(-0.2, 0.3), 1, 2), 0).astype(np.uint8)


def picture(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What MR shows of it, float64 (x, y, z) from 0 to 1: tissue of its own texture, a vessel, shading and noise."""
    texture = gaussian_filter(rng.normal(size=labels.shape), 2)
    tissue = np.clip(0.3 + 0.06 * texture / texture.std(), 0.05, 0.45)
    values = np.choose(labels, [tissue, *(np.full(labels.shape, bright) for bright in BRIGHT)])
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in labels.shape), indexing="ij")
    # as bright as the organ, so that brightness alone does not tell it
    vessel = np.hypot(axes[0] - rng.uniform(-0.9, 0.9), axes[2] - rng.choice([-0.9, 0.9])) < 0.12
    values = gaussian_filter(np.where(vessel & (labels == 0), BRIGHT[0], values), 0.7)
    shading = 1 + sum(rng.uniform(-0.12, 0.12) * axis for axis in axes)
    return np.clip(values * shading + rng.normal(0, 0.04, labels.shape), 0.001, 1)
