"""A scan as an array of voxels with its affine, which can be reoriented.

Millimetres in the patient coordinates of DICOM: x grows to the left, y to the back, z to the head (LPS).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from headwater.core.errors import UserError

AXES = ("RL", "AP", "IS")
"""For x, y and z: the letters of the negative and of the positive end."""

CANONICAL = "SPL"
"""Slices from feet to head, rows from front to back, columns from right to left: the usual view of axial slices."""


class Volume(NamedTuple):
    """A scan: voxels and their positions."""

    voxels: np.ndarray
    """float32 (slices, rows, columns)"""
    affine: np.ndarray
    """(4, 4): from indices (slice, row, column, 1) to (x, y, z, 1), the centre of the voxel"""
    unit: str
    """HU where the header says that values are Hounsfield units, else empty"""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between slices, rows and columns."""
        return tuple(float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def origin(self) -> np.ndarray:
        """(3,), centre of the first voxel."""
        return self.affine[:3, 3]

    @property
    def directions(self) -> np.ndarray:
        """(3, 3), whose columns are the unit vectors along which slice, row and column indices grow."""
        return self.affine[:3, :3] / np.array(self.spacing)

    @property
    def orientation(self) -> str:
        """The letters of the ends of the body towards which slice, row and column indices grow, such as SPL."""
        return "".join(AXES[axis][int(sign > 0)] for axis, sign in self._axes())

    def _axes(self) -> list[tuple[int, float]]:
        """For slices, rows and columns: the nearest patient axis, and the cosine of the angle to it."""
        cosines = self.directions
        # an assignment, so that no two axes of an oblique volume get the same patient axis
        indices, axes = linear_sum_assignment(-abs(cosines.T))
        return [(int(axis), float(cosines[axis, index])) for index, axis in zip(indices, axes, strict=True)]

    def turned(self, to: str = CANONICAL) -> "Volume":
        """The scan with its axes swapped and flipped to the orientation nearest to `to`; the voxels are a view."""
        present = [axis for axis, _ in self._axes()]
        wanted = [next(axis for axis, ends in enumerate(AXES) if letter in ends) for letter in to]
        order = [present.index(axis) for axis in wanted]
        swapped = Volume(self.voxels.transpose(order), self.affine[:, [*order, 3]], self.unit)
        flips = [index for index in range(3) if swapped.orientation[index] != to[index]]
        affine = swapped.affine.copy()
        for index in flips:
            # the last voxel along a flipped axis becomes the first
            affine[:3, 3] += affine[:3, index] * (swapped.voxels.shape[index] - 1)
            affine[:3, index] *= -1
        return Volume(np.flip(swapped.voxels, flips), affine, self.unit)


def refuse_other_grid(
    mask: Volume, *, image: Volume, file: Path, remedy: str = "resample it to the grid of its image"
) -> None:
    """Refuse a mask on another grid than its image; they may differ in orientation."""
    mask, image = mask.turned(), image.turned()
    if mask.voxels.shape != image.voxels.shape:
        shapes = f"has {_shape(mask)} voxels, its image {_shape(image)}"
        raise UserError(shapes, file=file, remedy=remedy, nameless="is on another grid")
    corners = np.array([[0, 0, 0, 1], [*mask.voxels.shape, 1]]).T
    # the largest distance between corresponding voxels is at a corner, because both affines are linear
    distance = np.linalg.norm(((mask.affine - image.affine) @ corners)[:3], axis=0).max()
    # a tenth of a voxel: headers round their affines
    if distance > min(image.spacing) / 10:
        raise UserError(
            f"is displaced by {distance:.1f} mm from its image",
            file=file,
            remedy=remedy,
            nameless="is on another grid",
        )


def _shape(volume: Volume) -> str:
    """The number of voxels along each axis, in words."""
    return " x ".join(str(side) for side in volume.voxels.shape)
