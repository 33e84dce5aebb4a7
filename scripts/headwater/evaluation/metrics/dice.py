"""Dice coefficient: the overlap of a structure and its segmentation by the network, averaged over cases."""

import numpy as np

from headwater.evaluation.statistics import means

TITLE = "Dice"
BETTER = "higher"
RANGE = (0.0, 1.0)
EVIDENCE = ("true_positive", "false_positive", "false_negative")


def per_case(true_positive: np.ndarray, false_positive: np.ndarray, false_negative: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) of each case (cases,), in voxels; NaN if both are empty (Dice 1945)."""
    shared, either = 2.0 * true_positive, 2.0 * true_positive + false_positive + false_negative
    return np.divide(shared, either, out=np.full(len(shared), np.nan), where=either > 0)


def measure(
    true_positive: np.ndarray, false_positive: np.ndarray, false_negative: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The weighted mean of each replicate (replicates,) over the cases that have one."""
    return means.weighted(per_case(true_positive, false_positive, false_negative), weights)
