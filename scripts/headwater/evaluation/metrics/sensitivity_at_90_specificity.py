"""Sensitivity at 90 % specificity: the share of findings found while nine in ten cases without it raise no alarm.

The threshold lies on the very cases that are scored, so this compares rankings; it is no promise about new patients.
"""

import numpy as np

from headwater.evaluation.statistics import ranked, weighing

TITLE = "sensitivity at 90 % specificity"
BETTER = "higher"
RANGE = (0.0, 1.0)
EVIDENCE = ("target", "score")
SPECIFICITY = 0.9
KERNEL = ("sensitivity", SPECIFICITY)


def measure(target: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted sensitivity of each replicate (replicates,), its threshold set in that replicate; NaN without both
    classes.
    """
    with_finding, without = np.flatnonzero(target == 1), np.flatnonzero(target == 0)
    fall = without[np.argsort(-score[without], kind="stable")]
    # for each case with the finding: the weight of the cases without it that score at least as high, and of all
    called = np.searchsorted(-score[fall], -score[with_finding], side="right")
    sums = weighing.first(weights, order=fall, places=np.append(called, len(fall))).astype(float)
    alarms, negatives = sums[:, :-1], sums[:, -1]
    drawn = weights.take(with_finding, axis=1).astype(float)
    passed_over = negatives[:, None] - alarms
    true_alarms = drawn * (passed_over >= SPECIFICITY * negatives[:, None] - ranked.ROUNDING)
    positives = drawn.sum(axis=1)
    defined = (positives > 0) & (negatives > 0)
    return np.divide(true_alarms.sum(axis=1), positives, out=np.full(len(weights), np.nan), where=defined)
