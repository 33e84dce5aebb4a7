"""The store: prepared images and their cases, the two files that `prepare` writes, read together."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.data import store, tables
from headwater.data.tables import NUMBER, TEXT, WHOLE
from headwater.study.ct_windows import Window

CASES = tables.Table(
    name="cases",
    columns={
        "row": WHOLE,
        "case": TEXT,
        "patient": TEXT,
        "study": TEXT,
        "site": TEXT,
        "file": TEXT,
        "split": TEXT,
        "sex": TEXT,
        "age": NUMBER,
        "view": TEXT,
        "pixels": TEXT,
    },
    keys=("case",),
    optional=tables.SLICE_COLUMNS,
    with_targets=True,
)
"""One readable image each, in the order of images.npy."""

REJECTS = tables.Table(
    name="rejects",
    columns={"case": TEXT, "file": TEXT, "reason": TEXT},
    keys=("case",),
)
"""Images that could not be read, and why."""


@dataclass(frozen=True, kw_only=True)
class Scans:
    """Slices in Hounsfield units, int16 (cases, 1, size, size), and the window in which they are shown.

    Its rows are Hounsfield units; the window is applied when batches are made.
    """

    values: np.ndarray
    window: Window

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of the values."""
        return self.values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: np.ndarray | int | slice) -> np.ndarray:
        return self.values[rows]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Cases (one row each) and their images, uint8 (cases, channels, size, size) or scans, in one order."""

    cases: pd.DataFrame
    images: np.ndarray | Scans

    @property
    def size(self) -> int:
        """Width and height of the images in pixels."""
        return self.images.shape[-1]

    @property
    def labels(self) -> list[str]:
        """The labels that the cases have targets for."""
        return tables.labels_of(self.cases)

    def rows(self, split: str) -> np.ndarray:
        """The rows of one split, in order."""
        return np.flatnonzero(self.cases["split"].to_numpy() == split)

    def targets(self, rows: np.ndarray, labels: list[str]) -> np.ndarray:
        """Targets float32 (rows, labels): 1 present, 0 absent, NaN unknown."""
        columns = [tables.TARGET + label for label in labels]
        return self.cases[columns].to_numpy(dtype=np.float32)[rows]


def read(cases: Path, *, images: Path, seen: Window | None = None) -> Prepared:
    """Cases and images, Hounsfield units with their window; refuses files that do not belong together."""
    prepared = Prepared(cases=CASES.read(cases), images=_images(images, seen=seen))
    if len(prepared.cases) != len(prepared.images):
        raise UserError(
            f"has {len(prepared.images)} images, but {cases} has {len(prepared.cases)} cases",
            file=images,
            remedy="delete both and run prepare again",
        )
    return prepared


def _images(path: Path, *, seen: Window | None) -> np.ndarray | Scans:
    """Images, or scans with their window; refuses Hounsfield units without a window, and a window for grey values."""
    images = store.read_images(path)
    if (images.dtype == np.int16) != (seen is not None):
        content = "grey values, not Hounsfield units" if seen else "Hounsfield units, but no window is given"
        raise UserError(f"holds {content}", file=path, remedy="prepare it with the config that it is used with")
    return images if seen is None else Scans(values=images, window=seen)


def read_hashes(path: Path) -> np.ndarray:
    """Hashes of prepared images, as perceptual_hash.every gives them: uint64 (cases, words)."""
    try:
        hashes = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"cannot be read: {error}", file=path, remedy="delete it and run prepare again") from None
    if hashes.ndim != 2 or hashes.dtype != np.uint64:
        raise UserError(f"is {hashes.dtype} {hashes.shape}, not uint64 (cases, words)", file=path)
    return hashes


def read_features(path: Path) -> np.ndarray:
    """An encoder's features of each training image, memory-mapped: float16 (training images, width)."""
    try:
        features = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"cannot be read: {error}", file=path, remedy="delete it and run embed again") from None
    if features.ndim != 2 or features.dtype != np.float16:
        raise UserError(f"is {features.dtype} {features.shape}, not float16 (training images, width)", file=path)
    return features


def read_images(path: Path) -> np.ndarray:
    """Prepared pixels, memory-mapped: uint8, or int16 Hounsfield units, (cases, channels, height, width)."""
    try:
        images = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"cannot be read: {error}", file=path, remedy="delete it and run prepare again") from None
    if images.ndim != 4 or images.dtype not in (np.uint8, np.int16):
        thing = f"is {images.dtype} {images.shape}, not uint8 or int16 (cases, channels, height, width)"
        raise UserError(thing, file=path)
    return images
