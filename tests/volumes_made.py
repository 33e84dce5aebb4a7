"""Small prepared volumes made in code: two structures that are brighter than what lies around them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.data import tables
from headwater.data.store import CASES, digest

STRUCTURES = ("front", "back")


@dataclass(frozen=True)
class Made:
    """Where the files of a made archive of volumes lie."""

    cases: Path
    images: Path
    masks: Path
    references: Path


def archive(folder: Path, *, cases: int = 10, sides: Sequence[int] = (20, 24, 16), seed: int = 0) -> Made:
    """Noise with two bright ellipsoids each, of sides that differ a little from case to case; one of two patients."""
    random = np.random.default_rng(seed)
    shapes = [tuple(side + int(random.integers(0, 5)) for side in sides) for _ in range(cases)]
    labels = [outlines(shape, random) for shape in shapes]
    images = [(100 + 60 * mask + random.normal(0, 15, mask.shape)).round().astype(np.int16) for mask in labels]
    return written(folder, images=images, masks=labels)


def outlines(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """A label map uint8 (x, y, z): structure 1 in the front half, structure 2 behind it."""
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    centre, radii = random.uniform(-0.2, 0.2, 3), random.uniform(0.45, 0.7, 3)
    inside = sum(((axis - at) / radius) ** 2 for axis, at, radius in zip(axes, centre, radii, strict=True)) <= 1
    return np.where(inside, np.where(axes[1] > centre[1], 1, 2), 0).astype(np.uint8)


def written(
    folder: Path,
    *,
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    structures: tuple[str, ...] = STRUCTURES,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    **columns: Sequence,
) -> Made:
    """The files of an archive of these int16 images and uint8 masks (x, y, z), whose sources have the same grids."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"cases": "cases.parquet"} | {name: f"{name}.npy" for name in ("images", "masks", "references")}
    made = Made(**{name: folder / file for name, file in names.items()})
    for path, arrays in ((made.images, images), (made.masks, masks), (made.references, masks)):
        np.save(path, np.concatenate([array.ravel() for array in arrays]))
    table = pd.DataFrame({**_persons(len(images)), **_volumes(images, masks, spacing=spacing)})
    for number, structure in enumerate(structures, start=1):
        table[tables.TARGET + structure] = [float((mask == number).any()) for mask in masks]
    CASES.write(table.assign(**columns), made.cases, origin={"structures": json.dumps(structures)})
    return made


def _persons(count: int) -> dict[str, Sequence]:
    """Three patients in five train, one validates, one tests; two cases each."""
    patients = np.arange(count) // 2
    split = np.array(["train", "validation", "train", "test", "train"])[patients % 5]
    names = {"case": [f"case{row:03d}" for row in range(count)], "patient": [f"patient{number}" for number in patients]}
    texts = {name: [""] * count for name in ("study", "site", "file", "sex", "view")}
    return {"row": range(count), **names, **texts, "split": split, "age": [np.nan] * count}


def _volumes(
    images: Sequence[np.ndarray], masks: Sequence[np.ndarray], *, spacing: tuple[float, float, float]
) -> dict[str, Sequence]:
    """The columns of volumes."""
    count, shapes = len(images), np.array([image.shape for image in images])
    offsets = np.cumsum([0, *(image.size for image in images[:-1])])
    columns: dict[str, Sequence] = {
        "pixels": [digest(image) for image in images],
        "outline": [digest(mask) for mask in masks],
        "reference": [digest(mask) for mask in masks],
        "offset": offsets,
        "reference_offset": offsets,
        "slope": [1.0] * count,
        "intercept": [0.0] * count,
        "mean": [float(image.mean()) for image in images],
        "std": [float(image.std()) for image in images],
        "low": [float(np.percentile(image, 0.5)) for image in images],
        "high": [float(np.percentile(image, 99.5)) for image in images],
        "affine": [json.dumps(np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]).tolist())] * count,
    }
    for axis, name in enumerate("xyz"):
        columns |= {f"{what}_{name}": shapes[:, axis] for what in ("shape", "source_shape", "kept")}
        columns |= {f"{what}_{name}": [spacing[axis]] * count for what in ("spacing", "source_spacing")}
        columns |= {f"crop_{name}": [0] * count}
    return columns
