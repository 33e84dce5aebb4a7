"""Prepared volumes: images, masks and the references that predictions are measured against, read in patches.

All cases of an archive lie one behind the other in one memory-mapped file each: images as whole numbers, masks at the
same places, and references, the masks on each source's own grid. Axes are (x, y, z), to the right, front and head.
"""

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError, check_memory
from headwater.data import tables
from headwater.data.geometry import Grids
from headwater.data.store import BROKEN, Prepared, digest, read_cases
from headwater.study.ct_windows import Window
from headwater.study.folds import Fold
from headwater.study.intensity import Intensity

AXES = ("x", "y", "z")

STORED = np.iinfo(np.int16)
"""The whole numbers in which values are stored."""

USUAL = (0.5, 99.5)
"""The percentiles that `prepare` keeps, as `low` and `high`."""

HELD = 2**26
"""Bytes read after which the pages of a memory map are given back, so that memory does not grow with the archive."""

UNKNOWN = 255
"""What stands in all voxels of a label map that is not known."""

ANCHORS = 64
"""Voxels that are kept of each structure of a case, to place patches on."""


class Flat:
    """One flat memory map of all cases' voxels; each case is compared with its digest when it is first read."""

    def __init__(self, file: Path, *, kind: type, offsets: np.ndarray, sides: np.ndarray, digests: pd.Series):
        self.file, self.offsets, self.sides, self._digests = file, offsets, sides, digests.to_numpy()
        self.values = _mapped(file, kind=np.dtype(kind), voxels=int(sides.prod(axis=1).sum()))
        self._checked, self._touched = np.zeros(len(sides), bool), 0

    def __getitem__(self, row: int) -> np.ndarray:
        """The voxels of a case (x, y, z), not in memory yet."""
        begin = self.offsets[row]
        voxels = self.values[begin : begin + int(self.sides[row].prod())].reshape(self.sides[row])
        if not self._checked[row]:
            if digest(voxels) != self._digests[row]:
                raise UserError(
                    f"volume {row} has changed since it was prepared",
                    file=self.file,
                    remedy="run snakemake --forcerun prepare_volumes; if it happens again, check the disk",
                    nameless="a volume has changed since it was prepared",
                )
            self._checked[row] = True
            self._count(voxels)
        return voxels

    def box(self, row: int, corner: Sequence[int], *, outside: int, into: np.ndarray) -> np.ndarray:
        """Fill an array with the voxels of a box of its sides, and with `outside` beyond the edges of the volume."""
        voxels, corner, size = self[row], np.asarray(corner), np.asarray(into.shape)
        first, last = np.clip(corner, 0, voxels.shape), np.clip(corner + size, 0, voxels.shape)
        inside = voxels[tuple(map(slice, first, last))]
        # rows of the map are read whole
        self._count(voxels[first[0] : last[0], first[1] : last[1]])
        if inside.shape != into.shape:
            into[...] = outside
        into[tuple(map(slice, first - corner, first - corner + inside.shape))] = inside
        return into

    def _count(self, read: np.ndarray) -> None:
        """Give the pages back from time to time: the system keeps them while it has memory to spare."""
        self._touched += read.nbytes
        if self._touched > HELD:
            self.values.base.madvise(mmap.MADV_DONTNEED)
            self._touched = 0


def _mapped(file: Path, *, kind: np.dtype, voxels: int) -> np.ndarray:
    """A flat array of this type and length, memory-mapped."""
    try:
        values = np.load(file, mmap_mode="r")
    except BROKEN as error:
        check_memory(error)
        remedy = "delete it and run prepare_volumes again"
        raise UserError(f"cannot be read: {error}", file=file, remedy=remedy) from None
    if values.dtype != kind or values.shape != (voxels,):
        thing = f"is {values.dtype} {values.shape}, not {kind} ({voxels},) as the table of cases says"
        raise UserError(thing, file=file, remedy="delete both and run prepare_volumes again")
    return values


class Volumes:
    """Prepared volumes of different sides and the patch in which networks see them, in place of an array of images."""

    def __init__(
        self,
        cases: pd.DataFrame,
        *,
        images: Path,
        masks: Path,
        references: Path,
        structures: tuple[str, ...],
        seen: Window | Intensity,
        patch: tuple[int, int, int],
    ):
        self.structures, self.seen, self.patch, self._cases = structures, seen, patch, cases
        self._sides, self._spacing = _along(cases, "shape", np.int64), _along(cases, "spacing", np.float64)
        source = _along(cases, "source_shape", np.int64)
        offsets, begins = cases["offset"].to_numpy(), cases["reference_offset"].to_numpy()
        self._images = Flat(images, kind=np.int16, offsets=offsets, sides=self._sides, digests=cases["pixels"])
        self._masks = Flat(masks, kind=np.uint8, offsets=offsets, sides=self._sides, digests=cases["outline"])
        self._references = Flat(references, kind=np.uint8, offsets=begins, sides=source, digests=cases["reference"])
        self._shown: dict[int, tuple[float, float, int]] = {}
        self._anchors: dict[int, np.ndarray] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """(cases, 1, *patch): as an array of images of one size would have it."""
        return (len(self), 1, *self.patch)

    def __len__(self) -> int:
        return len(self._cases)

    def sides(self, row: int) -> np.ndarray:
        """Voxels of a case along x, y and z: int64 (3,)."""
        return self._sides[row]

    def spacing(self, row: int) -> np.ndarray:
        """Millimetres between its voxels: float (3,)."""
        return self._spacing[row]

    def source_spacing(self, row: int) -> np.ndarray:
        """Millimetres between the voxels of its source: float (3,)."""
        return np.array(self._grids[row].source_spacing)

    def affine(self, row: int) -> np.ndarray:
        """(4, 4): from voxels of its source, turned to RAS, to millimetres that grow to the left, back and head."""
        return np.array(json.loads(self._cases["affine"].iloc[row]))

    def image(
        self,
        row: int,
        corner: Sequence[int] | None = None,
        size: Sequence[int] | None = None,
        *,
        into: np.ndarray | None = None,
    ) -> np.ndarray:
        """A box of a case as networks see it, float32 (1, *size), the whole by default; outside, its lowest value.

        It fills the array `into`, if there is one.
        """
        slope, intercept, lowest = self._scale(row)
        corner, size = self._box(row, corner, size)
        values = np.empty((1, *size), np.float32) if into is None else into
        self._images.box(row, corner, outside=lowest, into=values[0])
        values *= slope
        values += intercept
        return values if getattr(self.seen, "zscore", False) else np.clip(values, 0, 1, out=values)

    def mask(self, row: int, corner: Sequence[int] | None = None, size: Sequence[int] | None = None) -> np.ndarray:
        """The label map of a box, uint8 (*size), the whole by default: 1 is the first structure; outside, 0."""
        corner, size = self._box(row, corner, size)
        return self._masks.box(row, corner, outside=0, into=np.empty(size, np.uint8))

    def anchors(self, row: int) -> np.ndarray:
        """Some voxels of each structure, evenly thinned: int32 (structures, ANCHORS, 3); -1 where there is none."""
        if row not in self._anchors:
            mask = self.mask(row)
            found = np.full((len(self.structures), ANCHORS, 3), -1, np.int32)
            for number in range(len(self.structures)):
                voxels = np.flatnonzero(mask == number + 1)
                if len(voxels):
                    thinned = voxels[np.linspace(0, len(voxels) - 1, ANCHORS).round().astype(np.int64)]
                    found[number] = np.stack(np.unravel_index(thinned, mask.shape), axis=1)
            self._anchors[row] = found
        return self._anchors[row]

    def reference(self, row: int) -> np.ndarray:
        """The label map on the source's own grid, turned to RAS: uint8 (*source space)."""
        return np.array(self._references[row])

    def to_source(self, row: int, values: np.ndarray) -> np.ndarray:
        """Values float32 (channels, *space) on the source's grid, linearly resampled; 0 where it was cropped."""
        return self._grids[row].to_source(values)

    def _box(
        self, row: int, corner: Sequence[int] | None, size: Sequence[int] | None
    ) -> tuple[Sequence[int], Sequence[int]]:
        """Corner and sides of a box, by default of all."""
        return (0, 0, 0) if corner is None else corner, self._sides[row] if size is None else size

    @cached_property
    def _grids(self) -> list[Grids]:
        return grids_of(self._cases)

    def _scale(self, row: int) -> tuple[float, float, int]:
        """(slope, intercept) from stored to shown values of a case, and its lowest stored value."""
        if row not in self._shown:
            stored, case = self._images[row], self._cases.iloc[row]
            black, span = self._range(case, stored)
            # numbers of Python, with which arrays keep their type: NumPy's own would make every value a double
            slope, intercept = float(case["slope"] / span), float((case["intercept"] - black) / span)
            self._shown[row] = slope, intercept, int(stored.min())
        return self._shown[row]

    def _range(self, case: pd.Series, stored: np.ndarray) -> tuple[float, float]:
        """The value of a case that is shown as 0, and how much more is shown as 1."""
        if isinstance(self.seen, Window):
            return self.seen.centre - self.seen.width / 2, self.seen.width
        if self.seen.zscore:
            return case["mean"], max(case["std"], TINY)
        if self.seen.percentiles == USUAL:
            low, high = case["low"], case["high"]
        else:
            low, high = (case["slope"] * percentiles(stored, self.seen.percentiles) + case["intercept"]).tolist()
        return low, max(high - low, TINY)


TINY = 1e-8
"""Spread of values below which a volume counts as flat."""


def percentiles(stored: np.ndarray, at: Sequence[float]) -> np.ndarray:
    """Percentiles of the stored values above the lowest, float64 (at,); of a volume of one value, that value."""
    counts = np.bincount(np.subtract(stored, STORED.min, dtype=np.int32).ravel())
    values = np.flatnonzero(counts)
    # the background is what has the lowest value
    above = values[1:] if len(values) > 1 else values
    below = np.cumsum(counts[above])
    ranks = np.asarray(at, np.float64) / 100 * (below[-1] - 1)
    return (above[np.searchsorted(below, ranks, side="right")] + STORED.min).astype(np.float64)


def _along(cases: pd.DataFrame, what: str, kind: type) -> np.ndarray:
    """(cases, 3) of a column for each axis."""
    return cases[[f"{what}_{axis}" for axis in AXES]].to_numpy(dtype=kind)


def grids_of(cases: pd.DataFrame) -> list[Grids]:
    """The grids of each case."""
    whole, real = np.int64, np.float64
    columns = {"source_shape": whole, "source_spacing": real, "crop": whole, "kept": whole, "shape": whole}
    triples = [_along(cases, what, kind).tolist() for what, kind in (columns | {"spacing": real}).items()]
    return [Grids(*map(tuple, row)) for row in zip(*triples, strict=True)]


@dataclass(frozen=True, kw_only=True)
class PreparedVolumes(Prepared):
    """Cases (one row each) and their volumes, in one order."""

    images: Volumes

    @property
    def size(self) -> tuple[int, int, int]:
        """The sides of the patch in voxels."""
        return self.images.patch


def read_volumes(
    cases: Path,
    *,
    images: Path,
    masks: Path,
    references: Path,
    seen: Window | Intensity,
    patch: tuple[int, int, int],
    dropped: Path | None = None,
    fold: Fold | None = None,
) -> PreparedVolumes:
    """Cases and volumes as networks see them; refuses files that do not belong together.

    Cases that the file `dropped` lists are in no split. A `fold` is the test split in place of the archive's own.
    """
    table = read_cases(cases, dropped=dropped, fold=fold)
    lacking = [column for column in tables.VOLUME_COLUMNS if column not in table]
    if lacking:
        raise UserError("is a table of pictures, not of volumes", file=cases, remedy="run prepare_volumes")
    structures = tuple(json.loads(tables.read_origin(cases).get("structures", "[]")))
    files = {"images": images, "masks": masks, "references": references}
    volumes = Volumes(table, **files, structures=structures, seen=seen, patch=patch)
    return PreparedVolumes(cases=table, images=volumes)
