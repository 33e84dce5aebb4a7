"""Hausdorff distance: the 95th percentile of the distance between two borders of a structure, mostly in millimetres."""

import math

import numpy as np

from headwater.evaluation.statistics import means

TITLE = "Hausdorff distance (95 %, {unit})"
BETTER = "lower"
RANGE = (0.0, math.inf)
DIGITS = 2
NOTE = (
    "Hausdorff distance: voxel borders, the 95th percentile of the distances from one border to the other, the larger "
    "of both directions, as MONAI defines it; over the cases whose reference has the structure. A structure that was "
    "missed counts with the diagonal of its scan. Lower is better."
)
CLASSES = ("positive",)
EVIDENCE = ("target", "hausdorff95")


def per_case(target: np.ndarray, hausdorff95: np.ndarray) -> np.ndarray:
    """The distance of each case with the structure (cases,), as `models.outlines` measured it; else NaN."""
    return np.where(target == 1, hausdorff95, np.nan)


def measure(target: np.ndarray, hausdorff95: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of each replicate (replicates,) over the cases with the structure."""
    return means.weighted(per_case(target, hausdorff95), weights)
