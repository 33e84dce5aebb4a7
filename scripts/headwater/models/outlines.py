"""Outlines: how far a structure as a network drew it agrees with the reference, in voxels, millimetres and millilitres.

The rule for structures that are not there: the reference alone decides what is measured. A structure that was missed
outright has no overlap and the largest distance that its scan allows; one that was drawn where the reference has none
has no overlap and no distance at all, only a volume.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from headwater.core.errors import UserError

PERCENTILE = 95
"""Of the distances from one border to the other, the percentile that stands for all: outliers do not decide."""

CUBIC_MM = 1000.0
"""Cubic millimetres of a millilitre."""

LEAF = 32
"""Points of a leaf of the search tree, for the fewest steps in all."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """One structure of one case, drawn by a network and by the reference."""

    true_positive: int
    """Voxels in both; with `false_positive` in the network's only, with `false_negative` in the reference only."""
    false_positive: int
    false_negative: int
    hausdorff95: float
    """mm; NaN where the reference lacks the structure, the diagonal of the grid where the network does."""
    surface_dice: float
    """Share of both borders within the tolerance; NaN where the reference lacks the structure."""
    reference_ml: float
    """Millilitres; NaN in a picture, as `predicted_ml`."""
    predicted_ml: float


def measure(predicted: np.ndarray, reference: np.ndarray, *, spacing: Sequence[float], tolerance: float) -> Outline:
    """One structure's masks on one grid, bool (x, y, z) or (x, y); `spacing` of its voxels and `tolerance` in mm.

    Definitions are those of MONAI 1.6 without subvoxels: `compute_hausdorff_distance`, `compute_surface_dice`.
    Borders of a volume of one slice are those of the picture that it is.
    """
    _refuse_other_grids(predicted, reference, spacing)
    voxel = math.prod(spacing) / CUBIC_MM if predicted.ndim == 3 else math.nan
    # across an axis of one voxel all voxels have a face outside: what is left of the others is no border
    wide = [axis for axis, side in enumerate(reference.shape) if side > 1] or [0]
    predicted, reference = (mask.reshape([mask.shape[axis] for axis in wide]) for mask in (predicted, reference))
    spacing = [spacing[axis] for axis in wide]
    inside = _box(predicted | reference)
    drawn, real = np.ascontiguousarray(predicted[inside]), np.ascontiguousarray(reference[inside])
    of_drawn, of_real, both = (int(np.count_nonzero(mask)) for mask in (drawn, real, drawn & real))
    hausdorff95, surface_dice = math.nan, math.nan
    if of_real and of_drawn:
        hausdorff95, surface_dice = _apart(drawn, real, spacing=np.array(spacing, float), tolerance=tolerance)
    elif of_real:
        hausdorff95, surface_dice = diagonal(reference.shape, spacing=spacing), 0.0
    return Outline(
        true_positive=both,
        false_positive=of_drawn - both,
        false_negative=of_real - both,
        hausdorff95=hausdorff95,
        surface_dice=surface_dice,
        reference_ml=of_real * voxel,
        predicted_ml=of_drawn * voxel,
    )


def diagonal(shape: Sequence[int], *, spacing: Sequence[float]) -> float:
    """The diagonal of a grid in mm: the distance of a structure that was missed, more than any other can be."""
    return math.hypot(*(side * length for side, length in zip(shape, spacing, strict=True)))


def _refuse_other_grids(predicted: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> None:
    """Refuse masks of different grids, and a spacing that is none."""
    if predicted.shape != reference.shape:
        raise UserError(
            f"a mask of {predicted.shape} voxels cannot be measured on a reference of {reference.shape}",
            remedy="resample it to the grid of the reference",
        )
    if len(spacing) != reference.ndim or not all(0 < length < math.inf for length in spacing):
        raise UserError(
            f"a mask of {reference.ndim} axes cannot have a spacing of {tuple(spacing)} mm",
            remedy="give one positive length for each axis",
        )


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box around all voxels of a mask; an empty one around none."""
    sides = []
    for axis in range(mask.ndim):
        at = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        sides.append(slice(at[0], at[-1] + 1) if len(at) else slice(0))
    return tuple(sides)


def _apart(drawn: np.ndarray, real: np.ndarray, *, spacing: np.ndarray, tolerance: float) -> tuple[float, float]:
    """(95th percentile in mm of the distances between two borders, the larger of both directions; surface Dice)."""
    borders = _border(drawn), _border(real)
    both = [_distances(one, other, spacing=spacing) for one, other in (borders, borders[::-1])]
    # in float32, as MONAI compares: a distance that equals the tolerance but for rounding is within it
    within = sum(np.count_nonzero(distances.astype(np.float32) <= np.float32(tolerance)) for distances in both)
    farthest = max(float(np.percentile(distances, PERCENTILE)) for distances in both)
    return farthest, within / sum(map(len, both))


def _border(mask: np.ndarray) -> np.ndarray:
    """The voxels of a mask with a face outside it; the edge of the array counts as outside."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        of, shrunk = np.moveaxis(mask, axis, 0), np.moveaxis(inner, axis, 0)
        shrunk[1:] &= of[:-1]
        shrunk[:-1] &= of[1:]
        shrunk[[0, -1]] = False
    return mask & ~inner


def _distances(border: np.ndarray, other: np.ndarray, *, spacing: np.ndarray) -> np.ndarray:
    """The distance of each voxel of a border from the nearest one of another border: float (voxels,) in mm.

    A search tree of the borders takes a fifth of the time of the distance transform of their box; what both share is
    at distance 0 and needs no search.
    """
    distances = np.zeros(np.count_nonzero(border))
    apart = np.argwhere(border & ~other)
    if len(apart):
        tree = KDTree(np.argwhere(other) * spacing, leafsize=LEAF)
        distances[: len(apart)] = tree.query(apart * spacing)[0]
    return distances
