"""The store: prepared images and their cases, the two files that `prepare` writes, read together."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from headwater.core.errors import UNNAMED, UserError, about, check_memory
from headwater.core.files import read_record
from headwater.core.fingerprints import NOT_RECORDED, sha256
from headwater.core.progress import bar
from headwater.data import dropping, splits, tables
from headwater.data.tables import NUMBER, TEXT, WHOLE
from headwater.data.unstored import Decoded
from headwater.study.ct_windows import Window
from headwater.study.folds import Fold

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
    optional=tables.SLICE_COLUMNS | tables.VOLUME_COLUMNS,
    with_targets=True,
)
"""One readable image each, in the order of images.npy."""

REJECTS = tables.Table(
    name="rejects",
    columns={"case": TEXT, "file": TEXT, "reason": TEXT},
    keys=("case",),
    # the reason without any name or value; archives that were prepared by earlier versions have none
    optional={"kind": TEXT},
)
"""Images that could not be read, and why."""


BROKEN = (OSError, ValueError, EOFError, SyntaxError, TypeError, TokenError, BadZipFile)
"""What NumPy raises for a file whose header, a line of Python, is damaged, or which it takes for a .npz."""

PIECE = 1000
"""Images that are looked at together when all are checked."""

ASKED = 2**17
"""Bytes that are asked of a disk at once: Linux ignores what is beyond its read-ahead, 128 KiB unless set otherwise."""


def kinds(rejects: pd.DataFrame) -> pd.Series:
    """Why each image could not be read, in words that name no case or file and may be shown to others."""
    if "kind" in rejects:
        return rejects["kind"]
    # reasons of earlier versions begin with the name of a file or a case, and a colon
    return rejects["reason"].mask(rejects["reason"].str.contains(":", regex=False), UNNAMED)


class Pixels:
    """Prepared images, memory-mapped, read like an array; each is compared with its digest when it is first read.

    A disk, a copy or another tool may have changed them since `prepare`; no number shall rest on such an image.
    Images that are not stored are decoded, and compared each time.
    """

    def __init__(self, values: np.ndarray | Decoded, *, cases: pd.DataFrame, file: Path):
        self._values, self._cases, self._file = values, cases, file
        # of a memory map a single image takes longer to find than to copy
        self._array = values if isinstance(values, Decoded) else np.asarray(values)
        self._digests = cases["pixels"].to_numpy()
        self._checked = np.zeros(len(values), dtype=bool)

    @property
    def shape(self) -> tuple[int, ...]:
        """(cases, channels, height, width)."""
        return self._values.shape

    @property
    def dtype(self) -> np.dtype:
        """uint8 of shades, or int16 of Hounsfield units."""
        return self._values.dtype

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, rows: np.ndarray | int | slice) -> np.ndarray:
        """The images of some rows; a `UserError` names one that has changed since it was prepared."""
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else rows
        images = self._values[rows]
        numbers = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows, dtype=np.int64)
        if not self._checked[numbers].all():
            for row, image in zip(np.atleast_1d(numbers), images if numbers.ndim else [images], strict=True):
                self._check(row, image)
        return images

    def read(self, rows: np.ndarray, *, into: np.ndarray) -> None:
        """Copy the images of some rows (count,) into an array (count, channels, height, width), refusing as above."""
        # in the order in which they lie on disk, because scattered reads are slow
        places = np.argsort(rows, kind="stable")
        for place, row, image in zip(places.tolist(), rows[places].tolist(), self._each(rows[places]), strict=True):
            into[place] = image
            if not self._checked[row]:
                self._check(row, into[place])

    def _each(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        if isinstance(self._array, Decoded):
            return self._array.each(rows)
        return (self._array[row] for row in rows.tolist())

    def announce(self, rows: np.ndarray) -> None:
        """Have the operating system begin to read the images of ascending rows (count,), which are needed soon.

        A disk answers many requests at once sooner than one after the other, and reads nothing else between them.
        """
        if not isinstance(self._values, np.memmap) or not hasattr(os, "posix_fadvise"):
            return
        size = self._array[0].nbytes
        # images that follow each other are asked for as one
        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(rows) else []
        # what cannot be announced is read when it is needed, and told then if it cannot be read
        with suppress(OSError), self._file.open("rb", buffering=0) as file:
            for run in runs:
                first, last = (self._values.offset + size * int(row) for row in (run[0], run[-1] + 1))
                for start in range(first, last, ASKED):
                    length = min(ASKED, last - start)
                    os.posix_fadvise(file.fileno(), start, length, os.POSIX_FADV_WILLNEED)

    def _check(self, row: int, image: np.ndarray) -> None:
        decoded = isinstance(self._values, Decoded)
        if digest(image) != self._digests[row]:
            raise UserError(
                f"image {row} ({self._cases['case'].iloc[row]}) has changed since it was prepared",
                file=self._values.file(row) if decoded else self._file,
                remedy="run snakemake --forcerun prepare; if it happens again, check the disk",
                nameless="an image has changed since it was prepared",
            )
        # a file of the archive may still change
        self._checked[row] = not decoded


def digest(image: np.ndarray) -> str:
    """What tells the pixels of an image from all others: 16 hexadecimal digits of BLAKE2b."""
    return hashlib.blake2b(np.ascontiguousarray(image), digest_size=8).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Scans:
    """Slices in Hounsfield units, int16 (cases, 1, size, size), and the window in which they are shown.

    Its rows are Hounsfield units; the window is applied when batches are made.
    """

    values: Pixels
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

    def read(self, rows: np.ndarray, *, into: np.ndarray) -> None:
        """Copy the Hounsfield units of some rows into an array."""
        self.values.read(rows, into=into)

    def announce(self, rows: np.ndarray) -> None:
        """Have the Hounsfield units of ascending rows read soon."""
        self.values.announce(rows)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Cases (one row each) and their images, uint8 (cases, channels, size, size) or scans, in one order."""

    cases: pd.DataFrame
    images: Pixels | Scans

    @property
    def size(self) -> int:
        """Width and height of the images in pixels."""
        return self.images.shape[-1]

    def seen_in(self, view: int | None) -> int:
        """Width and height in which networks see the images: those of a view, which is smaller, or all pixels."""
        if view is not None and view >= self.size:
            raise UserError(f"images of {self.size} pixels have no view of {view}", remedy="run prepare again")
        return view or self.size

    @property
    def labels(self) -> list[str]:
        """The labels that the cases have targets for."""
        return tables.labels_of(self.cases)

    @property
    def numbers(self) -> list[str]:
        """The names of the numbers that are known of cases."""
        return tables.numbers_of(self.cases)

    def values(self, rows: np.ndarray, numbers: list[str]) -> np.ndarray:
        """Numbers float32 (rows, numbers), NaN unknown."""
        return self.cases[[tables.NUMBERS + name for name in numbers]].to_numpy(dtype=np.float32)[rows]

    def rows(self, split: str) -> np.ndarray:
        """The rows of one split, in order."""
        return np.flatnonzero(self.cases["split"].to_numpy() == split)

    def targets(self, rows: np.ndarray, labels: list[str]) -> np.ndarray:
        """Targets float32 (rows, labels): 1 present, 0 absent, NaN unknown."""
        columns = [tables.TARGET + label for label in labels]
        return self.cases[columns].to_numpy(dtype=np.float32)[rows]


def read(
    cases: Path, *, images: Path, seen: Window | None = None, dropped: Path | None = None, fold: Fold | None = None
) -> Prepared:
    """Cases and images, Hounsfield units with their window; refuses files that do not belong together.

    Cases that the file `dropped` lists are in no split. A `fold` is the test split in place of the archive's own.
    """
    table = read_cases(cases, dropped=dropped, fold=fold)
    pixels = read_pixels(images, cases=table, table=cases)
    if (pixels.dtype == np.int16) != (seen is not None):
        content = "grey values, not Hounsfield units" if seen else "Hounsfield units, but no window is given"
        raise UserError(f"holds {content}", file=images, remedy="prepare it with the config that it is used with")
    return Prepared(cases=table, images=pixels if seen is None else Scans(values=pixels, window=seen))


def read_cases(path: Path, *, dropped: Path | None, fold: Fold | None) -> pd.DataFrame:
    """The table of cases without those that are dropped from training, in the splits of a fold if one is given."""
    table = dropping.without(CASES.read(path), dropped, file=path)
    with about(path):
        return splits.in_fold(table, fold)


def read_pixels(path: Path, *, cases: pd.DataFrame, table: Path) -> Pixels:
    """The images of `cases`, which were read from `table`, checked as they are used."""
    images = _read_images(path)
    if isinstance(images, str):
        return Pixels(Decoded(images, cases=cases, file=path), cases=cases, file=path)
    _refuse_other_count(images, path, cases=cases, table=table)
    return Pixels(images, cases=cases, file=path)


def check_images(path: Path, *, table: Path) -> None:
    """Compare all images with the digests in a table of cases; a `UserError` names the first that has changed."""
    pixels = read_pixels(path, cases=CASES.read(table), table=table)
    starts = range(0, len(pixels), PIECE)
    # a few thousand images take no time worth a line
    for start in bar(starts, total=len(starts), what=f"check {path}") if len(starts) > 20 else starts:
        pixels[start : start + PIECE]


def _refuse_other_count(content: np.ndarray, path: Path, *, cases: pd.DataFrame, table: Path) -> None:
    if len(content) != len(cases):
        raise UserError(
            f"holds {len(content)} images, but {table} lists {len(cases)}",
            file=path,
            remedy="delete both and run prepare again",
        )


def read_hashes(path: Path, *, cases: pd.DataFrame, table: Path) -> np.ndarray:
    """Hashes of `cases`, which were read from `table`, as perceptual_hash.every gives them: uint64 (cases, words).

    Refuses hashes that are not those which the table was written with.
    """
    hashes = _array(path, by="prepare", mapped=False)
    if hashes.ndim != 2 or hashes.dtype != np.uint64:
        raise UserError(f"is {hashes.dtype} {hashes.shape}, not uint64 (cases, words)", file=path)
    _refuse_other_count(hashes, path, cases=cases, table=table)
    if (recorded := tables.read_origin(table).get("hashes", NOT_RECORDED)) not in (NOT_RECORDED, sha256(path)):
        raise UserError(
            f"has changed since {table} was written with it ({recorded[:12]})",
            file=path,
            remedy="delete both and run prepare again",
        )
    return hashes


def read_features(path: Path, *, cases: Path | None = None, count: int | None = None) -> np.ndarray:
    """An encoder's features of each training image, memory-mapped: float16 (training images, width).

    Refuses features that are not those which `embed` has recorded beside them, and where they are given, those of
    another table of `cases` or of another number of images.
    """
    features = _array(path, by="embed")
    if features.ndim != 2 or features.dtype != np.float16:
        raise UserError(f"is {features.dtype} {features.shape}, not float16 (training images, width)", file=path)
    if count not in (None, len(features)):
        thing = f"holds features of {len(features)} images, but the train split has {count}"
        raise UserError(thing, file=path, remedy="delete it and run embed again")
    account = path.with_suffix(".json")
    recorded = read_record(account) if account.is_file() else {}
    if recorded.get("features", NOT_RECORDED) not in (NOT_RECORDED, sha256(path)):
        thing = f"has changed since {account} was written with it ({recorded['features'][:12]})"
        raise UserError(thing, file=path, remedy="delete both and run embed again")
    if cases and "features" in recorded and recorded.get("cases") != sha256(cases):
        thing = f"holds features of other images than those of {cases}"
        raise UserError(thing, file=path, remedy="delete it and run embed again")
    return features


def _array(path: Path, *, by: str, mapped: bool = True) -> np.ndarray:
    """The array of a file that the rule `by` writes, memory-mapped unless it is small."""
    try:
        array = np.load(path, mmap_mode="r" if mapped else None)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive of arrays (.npz)")
        return array
    except BROKEN as error:
        check_memory(error)
        raise UserError(f"cannot be read: {error}", file=path, remedy=f"delete it and run {by} again") from None


def _read_images(path: Path) -> np.ndarray | str:
    """Prepared pixels, memory-mapped: uint8, or int16 Hounsfield units, (cases, channels, height, width).

    Of images that are not stored how they are decoded.
    """
    images = _array(path, by="prepare")
    if images.dtype.kind == "U" and not images.ndim:
        return str(images)
    if images.ndim != 4 or images.dtype not in (np.uint8, np.int16):
        thing = f"is {images.dtype} {images.shape}, not uint8 or int16 (cases, channels, height, width)"
        raise UserError(thing, file=path)
    return images
