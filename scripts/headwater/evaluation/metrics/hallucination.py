"""Hallucination: the share of cases without a structure in which the network draws any voxel of it."""

import numpy as np

from headwater.evaluation.statistics import means

TITLE = "hallucination"
BETTER = "lower"
RANGE = (0.0, 1.0)
NOTE = (
    "Hallucination: the share of the cases whose reference lacks the structure in which any voxel of it is drawn. "
    "Lower is better."
)
CLASSES = ("negative",)
EVIDENCE = ("target", "false_positive")


def per_case(target: np.ndarray, false_positive: np.ndarray) -> np.ndarray:
    """Of each case without the structure (cases,) 1 if any of it is drawn, 0 if none; NaN for cases with it."""
    return np.where(target == 0, false_positive > 0, np.nan)


def measure(target: np.ndarray, false_positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of each replicate (replicates,) over the cases without the structure."""
    return means.weighted(per_case(target, false_positive), weights)
