"""Holds a scan as a block of voxels that knows where it lies in the patient, and turns it to face one way.

Millimetres in the patient's own axes as DICOM counts them: x grows to the left, y to the back, z to the head (LPS).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from headwater.core.errors import UserError

AXES = ("RL", "AP", "IS")
"""For x, y and z: the letters of the end that they come from, and of the end that they grow to."""

CANONICAL = "SPL"
"""Slices grow to the head, rows to the back, columns to the left: an axial slice as it hangs on a light box."""


class Volume(NamedTuple):
    """A scan: voxels, and where they lie."""

    voxels: np.ndarray
    """float32 (slices, rows, columns)"""
    affine: np.ndarray
    """(4, 4): from (slice, row, column, 1) to (x, y, z, 1) of the middle of a voxel"""
    unit: str
    """HU where the values are known to be Hounsfield units, else empty"""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from slice to slice, row to row, column to column."""
        return tuple(float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def origin(self) -> np.ndarray:
        """(3,) where the first voxel lies."""
        return self.affine[:3, 3]

    @property
    def directions(self) -> np.ndarray:
        """(3, 3): in its columns where slices, rows and columns grow, as directions of length one."""
        return self.affine[:3, :3] / np.array(self.spacing)

    @property
    def orientation(self) -> str:
        """Three letters of the ends of the body that slices, rows and columns grow to, such as SPL."""
        return "".join(AXES[axis][int(sign > 0)] for axis, sign in self._axes())

    def _axes(self) -> list[tuple[int, float]]:
        """For each of slices, rows and columns the nearest axis of the patient, and how far it runs along it."""
        share = self.directions
        ours, theirs = linear_sum_assignment(-abs(share.T))
        return [(int(axis), float(share[axis, index])) for index, axis in zip(ours, theirs, strict=True)]

    def turned(self, to: str = CANONICAL) -> "Volume":
        """The same scan with its axes swapped and flipped to the orientation nearest to `to`: a view of its values."""
        now = [axis for axis, _ in self._axes()]
        wanted = [next(axis for axis, ends in enumerate(AXES) if letter in ends) for letter in to]
        order = [now.index(axis) for axis in wanted]
        swapped = Volume(self.voxels.transpose(order), self.affine[:, [*order, 3]], self.unit)
        flips = [index for index in range(3) if swapped.orientation[index] != to[index]]
        affine = swapped.affine.copy()
        for index in flips:
            affine[:3, 3] += affine[:3, index] * (swapped.voxels.shape[index] - 1)
            affine[:3, index] *= -1
        return Volume(np.flip(swapped.voxels, flips), affine, self.unit)


def refuse_other_grid(mask: Volume, *, image: Volume, file: Path) -> None:
    """Refuse a mask whose voxels are not those of its image, whatever way each of the two faces."""
    mask, image = mask.turned(), image.turned()
    if mask.voxels.shape != image.voxels.shape:
        shapes = f"has {_by(mask)} voxels, its image {_by(image)}"
        raise UserError(shapes, file=file, remedy="bring it to the grid of its image", nameless="lies on another grid")
    corners = np.array([[0, 0, 0, 1], [*mask.voxels.shape, 1]]).T
    apart = np.linalg.norm(((mask.affine - image.affine) @ corners)[:3], axis=0).max()
    if apart > min(image.spacing) / 10:
        raise UserError(
            f"lies {apart:.1f} mm beside its image",
            file=file,
            remedy="bring it to the grid of its image",
            nameless="lies on another grid",
        )


def _by(volume: Volume) -> str:
    """The number of voxels in words."""
    return " x ".join(str(side) for side in volume.voxels.shape)
