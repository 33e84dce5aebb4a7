"""Small prepared archives made in code: pictures that show their labels, several of each patient."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.data import tables
from headwater.data.reduction import ROWS
from headwater.data.store import CASES, digest

LABELS = ("bright left", "bright right", "stripes")


@dataclass(frozen=True)
class Made:
    """Where the files of a made archive lie."""

    cases: Path
    images: Path
    rows: Path


def archive(
    folder: Path, *, cases: int = 60, size: int = 32, seed: int = 0, one_of_many: bool = False, unknown: float = 0.0
) -> Made:
    """Prepared cases, their images, and all training rows as a corpus; a share of the targets can be unknown."""
    random = np.random.default_rng(seed)
    if one_of_many:
        targets = np.eye(len(LABELS))[random.integers(0, len(LABELS), cases)]
    else:
        targets = (random.random((cases, len(LABELS))) < 0.5).astype(float)
    made = Made(cases=folder / "cases.parquet", images=folder / "images.npy", rows=folder / "rows.parquet")
    folder.mkdir(parents=True, exist_ok=True)
    images = pictures(targets, size=size, random=random)
    np.save(made.images, images)
    frame = _table(np.where(random.random(targets.shape) < unknown, np.nan, targets))
    frame["pixels"] = [digest(image) for image in images]
    CASES.write(frame, made.cases)
    ROWS.write(frame.loc[frame["split"] == "train", ["row", "case"]], made.rows)
    return made


def replace_images(made: Made, images: np.ndarray) -> None:
    """Give a made archive other images, with their digests in its table of cases."""
    np.save(made.images, images)
    CASES.write(CASES.read(made.cases).assign(pixels=[digest(image) for image in images]), made.cases)


def pictures(targets: np.ndarray, *, size: int, random: np.random.Generator) -> np.ndarray:
    """Noise, with a bright half or stripes where the label is present: uint8 (cases, 1, size, size)."""
    images = random.normal(100, 20, (len(targets), 1, size, size))
    half = size // 2
    images[:, :, :, :half] += 60 * targets[:, 0, None, None, None]
    images[:, :, :, half:] += 60 * targets[:, 1, None, None, None]
    images[:, :, ::4] += 60 * targets[:, 2, None, None, None]
    return images.clip(0, 255).astype(np.uint8)


def _table(targets: np.ndarray) -> pd.DataFrame:
    """Three patients in five train, one validates, one tests; two cases each."""
    count = len(targets)
    patients = np.arange(count) // 2
    split = np.array(["train", "validation", "train", "test", "train"])[patients % 5]
    frame = pd.DataFrame({"row": range(count), "case": [f"case{row:03d}" for row in range(count)]})
    frame = frame.assign(patient=[f"patient{number}" for number in patients], file="x.png", split=split)
    frame = frame.assign(study="", site="", sex="", age=np.nan, view="", pixels="")
    return frame.assign(**{tables.TARGET + label: targets[:, column] for column, label in enumerate(LABELS)})
