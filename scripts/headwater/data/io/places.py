"""Says where a slice lies in the patient: its position, its directions and the spacing of its pixels.

In millimetres, in the patient's own axes: x grows to the left, y to the back, z to the head (DICOM PS3.3 C.7.6.2.1.1).
"""

from typing import NamedTuple

import numpy as np
import pydicom

FAR = 1e5
"""Millimetres beyond which a position is no place in a scanner's room."""

FINEST, COARSEST = 1e-3, 1e3
"""Millimetres between which pixels are spaced."""


class Place(NamedTuple):
    """Where a slice lies; None for what its header does not tell, or tells without sense."""

    position: np.ndarray | None
    """(3,) of the middle of the first pixel"""
    orientation: np.ndarray | None
    """(2, 3): the direction in which the column number grows, and that in which the row number does"""
    spacing: np.ndarray | None
    """(2,): from row to row, from column to column"""

    @property
    def is_known(self) -> bool:
        """Whether all three are told."""
        return not any(part is None for part in self)

    @property
    def normal(self) -> np.ndarray:
        """The direction (3,) that slices are counted in."""
        return np.cross(*self.orientation)


def places_of(dataset: pydicom.Dataset, *, frames: int) -> list[Place]:
    """The place of each frame: by its own functional groups, those of all frames, or the file's header."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    return [_place(own[number] if number < len(own) else shared, shared, dataset) for number in range(frames)]


def _place(own: pydicom.Dataset, shared: pydicom.Dataset, file: pydicom.Dataset) -> Place:
    """The place that three headers tell, the nearest first."""
    position = _numbers("PlanePositionSequence", "ImagePositionPatient", own, shared, file)
    orientation = _numbers("PlaneOrientationSequence", "ImageOrientationPatient", own, shared, file)
    spacing = _numbers("PixelMeasuresSequence", "PixelSpacing", own, shared, file)
    near = position is not None and position.shape == (3,) and (abs(position) < FAR).all()
    fine = spacing is not None and spacing.shape == (2,) and FINEST < spacing.min() <= spacing.max() < COARSEST
    return Place(position if near else None, _axes(orientation), spacing if fine else None)


def _numbers(
    sequence: str, name: str, own: pydicom.Dataset, shared: pydicom.Dataset, file: pydicom.Dataset
) -> np.ndarray | None:
    """The numbers of an element in the first header that has it; None if one of them is no number."""
    inner = [groups.get(sequence) for groups in (own, shared)]
    for header in [*(items[0] for items in inner if items), file]:
        told = header.get(name)
        if told:
            values = np.array([float(value) for value in np.atleast_1d(told)])
            return values if np.isfinite(values).all() else None
    return None


def _axes(numbers: np.ndarray | None) -> np.ndarray | None:
    """Two directions of length one at a right angle, from six numbers that are nearly that."""
    if numbers is None or numbers.shape != (6,):
        return None
    axes = numbers.reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if (abs(lengths - 1) > 0.01).any() or abs(axes[0] @ axes[1]) > 0.01:
        return None
    return axes / lengths[:, None]
