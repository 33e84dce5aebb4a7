"""Sensitivity at 90 % specificity: the share of positive cases above the threshold that 90 % of negatives are below.

The threshold is set on the same cases, so this compares rankings and is no estimate for new patients.
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
    """The weighted sensitivity of each replicate (replicates,), with its own threshold; NaN without both classes."""
    with_finding, without = np.flatnonzero(target == 1), np.flatnonzero(target == 0)
    descending = without[np.argsort(-score[without], kind="stable")]
    # for each positive case as the threshold: the weight of the negatives called positive, and of all negatives
    called = np.searchsorted(-score[descending], -score[with_finding], side="right")
    sums = weighing.first(weights, order=descending, places=np.append(called, len(descending))).astype(float)
    false_positives, negatives = sums[:, :-1], sums[:, -1]
    drawn = weights.take(with_finding, axis=1).astype(float)
    true_negatives = negatives[:, None] - false_positives
    true_positives = drawn * (true_negatives >= SPECIFICITY * negatives[:, None] - ranked.ROUNDING)
    positives = drawn.sum(axis=1)
    defined = (positives > 0) & (negatives > 0)
    return np.divide(true_positives.sum(axis=1), positives, out=np.full(len(weights), np.nan), where=defined)
