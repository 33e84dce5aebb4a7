"""Surface Dice: the share of two borders of a structure that lie within a tolerance of each other."""

import numpy as np

from headwater.evaluation.statistics import means

TITLE = "surface Dice"
BETTER = "higher"
RANGE = (0.0, 1.0)
NOTE = (
    "Surface Dice: the share of both voxel borders within {tolerance} of each other, as MONAI defines it without "
    "subvoxels; over the cases whose reference has the structure. A structure that was missed counts as 0."
)
CLASSES = ("positive",)
EVIDENCE = ("target", "surface_dice")


def per_case(target: np.ndarray, surface_dice: np.ndarray) -> np.ndarray:
    """The share of each case with the structure (cases,), as `models.outlines` measured it; else NaN."""
    return np.where(target == 1, surface_dice, np.nan)


def measure(target: np.ndarray, surface_dice: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of each replicate (replicates,) over the cases with the structure."""
    return means.weighted(per_case(target, surface_dice), weights)
