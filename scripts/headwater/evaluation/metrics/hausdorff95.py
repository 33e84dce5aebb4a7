"""Hausdorff distance: the 95th percentile of the distance, in millimetres, between two outlines."""

import math

import numpy as np

from headwater.evaluation.statistics import means

TITLE = "Hausdorff distance (95 %, mm)"
BETTER = "lower"
RANGE = (0.0, math.inf)
EVIDENCE = ("hausdorff95",)


def per_case(hausdorff95: np.ndarray) -> np.ndarray:
    """The distance of each case (cases,) in mm, as the task computed it; NaN if an outline is empty."""
    return np.asarray(hausdorff95, dtype=float)


def measure(hausdorff95: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of each replicate (replicates,) over the cases that have one."""
    return means.weighted(per_case(hausdorff95), weights)
