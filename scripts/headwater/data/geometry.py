"""Geometry of volumes: the part of a source's grid that is kept, and resampling to another spacing and back.

Both grids have their axes along (x, y, z), to the right, the front and the head, and share their centre.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

Sides = tuple[int, int, int]
Lengths = tuple[float, float, float]


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
        filters = self._filters(to_source=True, smooth=False)
        whole[self._box] = labels if self._same else _majority(labels, filters)
        return whole

    @property
    def _box(self) -> tuple[slice, ...]:
        """The kept box of the source's grid."""
        return tuple(slice(first, first + many) for first, many in zip(self.crop, self.kept, strict=True))

    @property
    def _same(self) -> bool:
        """Whether nothing is resampled."""
        return self.shape == self.kept and self.spacing == self.source_spacing

    def _filters(self, *, to_source: bool, smooth: bool) -> list[csr_array]:
        """For each axis the weights by which voxels of one grid give those of the other."""
        axes = zip(self.kept, self.source_spacing, self.shape, self.spacing, strict=True)
        pairs = [((many, step), (fewer, wider))[:: -1 if to_source else 1] for many, step, fewer, wider in axes]
        return [_filter(old[0], new[0], step=new[1] / old[1], smooth=smooth) for old, new in pairs]


def at_spacing(kept: Sides, *, source_spacing: Lengths, spacing: Lengths) -> Sides:
    """The sides of the grid of a spacing that covers so many voxels of another."""
    lengths = zip(kept, source_spacing, spacing, strict=True)
    return tuple(max(1, round(many * old / new)) for many, old, new in lengths)


def _filter(old: int, new: int, *, step: float, smooth: bool) -> csr_array:
    """Weights float32 (new, old): linear interpolation, with `smooth` over as many old voxels as a new one covers."""
    width = max(1.0, step) if smooth else 1.0
    centres = np.clip((old - 1) / 2 + (np.arange(new) - (new - 1) / 2) * step, 0, old - 1)
    # all old voxels that a triangle of this width can reach
    reached = np.floor(centres)[:, None] + np.arange(-int(np.ceil(width)), int(np.ceil(width)) + 2)
    weights = np.maximum(0, 1 - abs(reached - centres[:, None]) / width) * ((reached >= 0) & (reached < old))
    weights /= weights.sum(axis=1, keepdims=True)
    row, column = np.repeat(np.arange(new), reached.shape[1]), np.clip(reached, 0, old - 1).astype(int).ravel()
    return csr_array((weights.ravel().astype(np.float32), (row, column)), shape=(new, old))


def _along_axes(values: np.ndarray, filters: Sequence[csr_array]) -> np.ndarray:
    """Values float32 (x, y, z) resampled along each axis, that which shrinks most first."""
    order = sorted(range(3), key=lambda axis: filters[axis].shape[0] / filters[axis].shape[1])
    for axis in order:
        front = np.moveaxis(values, axis, 0)
        flat = filters[axis] @ np.ascontiguousarray(front, dtype=np.float32).reshape(len(front), -1)
        values = np.moveaxis(flat.reshape(len(flat), *front.shape[1:]), 0, axis)
    return np.ascontiguousarray(values)


def _majority(labels: np.ndarray, filters: Sequence[csr_array]) -> np.ndarray:
    """A label map uint8 (x, y, z) resampled: the label with the largest share, of equal ones the lowest."""
    most = _along_axes(labels == 0, filters)
    result = np.zeros(most.shape, np.uint8)
    # one label at a time, because shares of all would take many times the memory of the map
    for label in np.unique(labels[labels > 0]):
        share = _along_axes(labels == label, filters)
        larger = share > most
        result[larger], most[larger] = label, share[larger]
    return result
