"""Dice coefficient: the overlap of a structure and its outline by the network, averaged over cases that have it."""

import numpy as np

from headwater.core.errors import UserError
from headwater.evaluation.statistics import means

TITLE = "Dice"
BETTER = "higher"
RANGE = (0.0, 1.0)
NOTE = (
    "Dice: the mean over the test cases whose reference has the structure, on the grid of the source; a structure that "
    "was missed counts as 0."
)
CLASSES = ("positive",)
EVIDENCE = ("target", "true_positive", "false_positive", "false_negative")


def per_case(
    target: np.ndarray, true_positive: np.ndarray, false_positive: np.ndarray, false_negative: np.ndarray
) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) of each case with the structure (cases,), in voxels; else NaN (Dice 1945).

    A structure that was missed has 0. Which cases count follows from the reference alone.
    """
    there = target == 1
    empty = there & (true_positive + false_negative == 0)
    if empty.any():
        raise UserError(
            f"in {empty.sum()} cases the reference has no voxel of a structure that by the target is there",
            remedy="predict again",
        )
    shared, either = 2.0 * true_positive, 2.0 * true_positive + false_positive + false_negative
    return np.divide(shared, either, out=np.full(len(shared), np.nan), where=there)


def measure(
    target: np.ndarray,
    true_positive: np.ndarray,
    false_positive: np.ndarray,
    false_negative: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """The weighted mean of each replicate (replicates,) over the cases with the structure."""
    return means.weighted(per_case(target, true_positive, false_positive, false_negative), weights)
