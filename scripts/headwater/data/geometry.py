"""Geometry of volumes: the part of a source's grid that is kept, and resampling to another spacing and back.

Both grids have their axes along (x, y, z), to the right, the front and the head, and share their centre.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Sides = tuple[int, int, int]
Lengths = tuple[float, float, float]

DENSE = -500
"""Hounsfield units between air, and lungs and bowel gas that lie inside of a patient, and tissue."""

MARGIN = 10.0
"""Millimetres that are kept around a patient in a CT."""

ROUNDING = 1e-3
"""Relative difference of spacings that counts as none: headers round them."""


class Grids(NamedTuple):
    """The grid of a source, the box of it that is kept, and the prepared grid that covers that box."""

    source_shape: Sides
    source_spacing: Lengths
    """in millimetres"""
    crop: Sides
    """the first voxel kept along each axis"""
    kept: Sides
    """the number of voxels kept"""
    shape: Sides
    spacing: Lengths

    def to_prepared(self, values: np.ndarray) -> np.ndarray:
        """Values float32 (*source space) on the prepared grid, smoothed where that is coarser so that none is lost."""
        box = values[self._box]
        return box if self._same else _along_axes(box, self._filters(to_source=False, smooth=True))

    def masks_to_prepared(self, labels: np.ndarray) -> np.ndarray:
        """A label map uint8 (*source space) on the prepared grid: of each voxel the label with the largest share."""
        box = labels[self._box]
        return box if self._same else _majority(box, self._filters(to_source=False, smooth=True))

    def to_source(self, values: np.ndarray) -> np.ndarray:
        """Values float32 (channels, *prepared space) on the source's grid by linear interpolation; 0 where cropped."""
        filters = None if self._same else self._filters(to_source=True, smooth=False)
        if filters is None and self.kept == self.source_shape:
            return values
        whole = np.zeros((len(values), *self.source_shape), np.float32)
        for channel, plane in zip(whole, values, strict=True):
            channel[self._box] = plane if filters is None else _along_axes(plane, filters)
        return whole

    def masks_to_source(self, labels: np.ndarray) -> np.ndarray:
        """A label map uint8 (*prepared space) on the source's grid, as `to_source` takes the outputs of a network."""
        whole = np.zeros(self.source_shape, np.uint8)
        whole[self._box] = labels if self._same else _majority(labels, self._filters(to_source=True, smooth=False))
        return whole

    @property
    def _box(self) -> tuple[slice, ...]:
        """The kept box of the source's grid."""
        return tuple(slice(first, first + many) for first, many in zip(self.crop, self.kept, strict=True))

    @property
    def _same(self) -> bool:
        """Whether nothing is resampled."""
        return self.shape == self.kept and self.spacing == self.source_spacing

    def _filters(self, *, to_source: bool, smooth: bool) -> list["csr_array"]:
        """For each axis the weights by which voxels of one grid give those of the other."""
        axes = zip(self.kept, self.source_spacing, self.shape, self.spacing, strict=True)
        pairs = [((many, step), (fewer, wider))[:: -1 if to_source else 1] for many, step, fewer, wider in axes]
        return [_filter(old[0], new[0], step=new[1] / old[1], smooth=smooth) for old, new in pairs]


def sampled(values: np.ndarray, sides: Sides) -> np.ndarray:
    """A volume (x, y, z) stretched to these sides: float32."""
    return _along_axes(
        values, [_filter(old, new, step=old / new, smooth=True) for old, new in zip(values.shape, sides, strict=True)]
    )


def box_of(inside: np.ndarray) -> tuple[slice, ...]:
    """The smallest box around all voxels of a mask (x, y, z); the whole if there is none."""
    box = []
    for axis in range(3):
        hit = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        box.append(slice(int(hit[0]), int(hit[-1]) + 1) if len(hit) else slice(0, inside.shape[axis]))
    return tuple(box)


def body(values: np.ndarray, *, spacing: Lengths, hounsfield: bool) -> tuple[Sides, Sides]:
    """(first voxel, number of voxels) along each axis of the box that a patient fills in a volume (x, y, z).

    In Hounsfield units what is denser than `DENSE`, with a margin; else all above the lowest value, as noise in the air
    cannot be told from tissue.
    """
    box = box_of(values > (DENSE if hounsfield else values.min()))
    margins = [int(np.ceil(MARGIN / length)) if hounsfield else 0 for length in spacing]
    first = tuple(max(0, part.start - margin) for part, margin in zip(box, margins, strict=True))
    ends = zip(box, margins, values.shape, strict=True)
    last = tuple(min(side, part.stop + margin) for part, margin, side in ends)
    return first, tuple(end - begin for begin, end in zip(first, last, strict=True))


def grids(values: np.ndarray, *, spacing: Lengths, wanted: Lengths | None, hounsfield: bool) -> Grids:
    """The grids of a volume (x, y, z): the kept box, and the prepared grid of the wanted spacing, or of its own."""
    crop, kept = body(values, spacing=spacing, hounsfield=hounsfield)
    shape, new = resampled(kept, spacing=spacing, wanted=wanted)
    return Grids(values.shape, spacing, crop, kept, shape, new)


def resampled(kept: Sides, *, spacing: Lengths, wanted: Lengths | None) -> tuple[Sides, Lengths]:
    """(sides, spacing) of the prepared grid that covers a box of voxels: the wanted spacing, or their own."""
    pairs = zip(spacing, wanted or spacing, strict=True)
    new = tuple(own if abs(own / asked - 1) < ROUNDING else asked for own, asked in pairs)
    shape = tuple(
        many if length == own else max(1, round(many * own / length))
        for many, own, length in zip(kept, spacing, new, strict=True)
    )
    return shape, new


def dice(labels: np.ndarray, reference: np.ndarray, *, structures: int) -> list[float]:
    """Dice of each structure of a label map with that of a reference; NaN where the reference has none of it."""
    both = np.bincount(labels[labels == reference], minlength=structures + 1)[1 : structures + 1]
    ours, theirs = (
        np.bincount(one.ravel(), minlength=structures + 1)[1 : structures + 1] for one in (labels, reference)
    )
    return [2 * hit / (a + b) if b else math.nan for hit, a, b in zip(both, ours, theirs, strict=True)]


@lru_cache(maxsize=512)
def _filter(old: int, new: int, *, step: float, smooth: bool) -> "csr_array":
    """Weights float32 (new, old): linear interpolation, with `smooth` over as many old voxels as a new one covers."""
    width = max(1.0, step) if smooth else 1.0
    centres = np.clip((old - 1) / 2 + (np.arange(new) - (new - 1) / 2) * step, 0, old - 1)
    # all old voxels that a triangle of this width can reach
    reached = np.floor(centres)[:, None] + np.arange(-int(np.ceil(width)), int(np.ceil(width)) + 2)
    weights = np.maximum(0, 1 - abs(reached - centres[:, None]) / width) * ((reached >= 0) & (reached < old))
    weights /= weights.sum(axis=1, keepdims=True)
    row, column = np.repeat(np.arange(new), reached.shape[1]), np.clip(reached, 0, old - 1).astype(int).ravel()
    # only where something is resampled, because trainings on pictures should not wait for it
    from scipy.sparse import csr_array

    return csr_array((weights.ravel().astype(np.float32), (row, column)), shape=(new, old))


def _along_axes(values: np.ndarray, filters: Sequence["csr_array"]) -> np.ndarray:
    """Values float32 (x, y, z) resampled along each axis, that which shrinks most first."""
    order = sorted(range(3), key=lambda axis: filters[axis].shape[0] / filters[axis].shape[1])
    for axis in order:
        front = np.moveaxis(values, axis, 0)
        flat = filters[axis] @ np.ascontiguousarray(front, dtype=np.float32).reshape(len(front), -1)
        values = np.moveaxis(flat.reshape(len(flat), *front.shape[1:]), 0, axis)
    return np.ascontiguousarray(values)


def _majority(labels: np.ndarray, filters: Sequence["csr_array"]) -> np.ndarray:
    """A label map uint8 (x, y, z) resampled: the label with the largest share, of equal ones the lowest."""
    most = _along_axes(labels == 0, filters)
    result = np.zeros(most.shape, np.uint8)
    # one label at a time, because shares of all would take many times the memory of the map
    for label in np.unique(labels[labels > 0]):
        share = _along_axes(labels == label, filters)
        larger = share > most
        result[larger], most[larger] = label, share[larger]
    return result
