"""Reads where a slice lies in the patient: its position, its orientation and the spacing of its pixels.

In millimetres, in patient coordinates: x grows to the left, y to the back, z to the head (DICOM PS3.3 C.7.6.2.1.1).
"""

from typing import NamedTuple

import numpy as np
import pydicom

FAR = 1e5
"""Millimetres above which a coordinate is taken for broken."""

FINEST, COARSEST = 1e-3, 1e3
"""Millimetres between which a pixel spacing is believed."""


class Place(NamedTuple):
    """Where a slice lies; None for what its header lacks or states without sense."""

    position: np.ndarray | None
    """(3,), centre of the first pixel: ImagePositionPatient"""
    orientation: np.ndarray | None
    """(2, 3), unit vectors along which the column index and the row index grow: ImageOrientationPatient"""
    spacing: np.ndarray | None
    """(2,), between rows and between columns: PixelSpacing"""

    @property
    def is_known(self) -> bool:
        """Whether the header has all three."""
        return not any(part is None for part in self)

    @property
    def normal(self) -> np.ndarray:
        """The unit vector (3,) along which slices are ordered."""
        return np.cross(*self.orientation)


def places_of(dataset: pydicom.Dataset, *, frames: int) -> list[Place]:
    """The place of each frame: from its own functional groups, else the shared ones, else the file's header."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    return [_place(own[number] if number < len(own) else shared, shared, dataset) for number in range(frames)]


def _place(own: pydicom.Dataset, shared: pydicom.Dataset, file: pydicom.Dataset) -> Place:
    """The place of a frame; each element from the first of the three headers that has it."""
    position = _numbers("PlanePositionSequence", "ImagePositionPatient", own, shared, file)
    orientation = _numbers("PlaneOrientationSequence", "ImageOrientationPatient", own, shared, file)
    spacing = _numbers("PixelMeasuresSequence", "PixelSpacing", own, shared, file)
    near = position is not None and position.shape == (3,) and (abs(position) < FAR).all()
    fine = spacing is not None and spacing.shape == (2,) and FINEST < spacing.min() <= spacing.max() < COARSEST
    return Place(position if near else None, _axes(orientation), spacing if fine else None)


def _numbers(
    sequence: str, name: str, own: pydicom.Dataset, shared: pydicom.Dataset, file: pydicom.Dataset
) -> np.ndarray | None:
    """The numbers of an element in the first header that has it; None if one of them is not finite."""
    inner = [groups.get(sequence) for groups in (own, shared)]
    # functional groups are sequences of a single item
    for header in [*(items[0] for items in inner if items), file]:
        element = header.get(name)
        if element:
            values = np.array([float(value) for value in np.atleast_1d(element)])
            return values if np.isfinite(values).all() else None
    return None


def _axes(numbers: np.ndarray | None) -> np.ndarray | None:
    """Two unit vectors from six direction cosines; None if these are not nearly unit vectors at right angles."""
    if numbers is None or numbers.shape != (6,):
        return None
    axes = numbers.reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if (abs(lengths - 1) > 0.01).any() or abs(axes[0] @ axes[1]) > 0.01:
        return None
    # headers round direction cosines, and a length other than 1 would add up over hundreds of columns
    return axes / lengths[:, None]
