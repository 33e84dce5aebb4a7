"""Average precision: the mean, over the positive cases, of the precision at each case's score."""

import numpy as np

from headwater.evaluation.statistics import weighing

TITLE = "average precision"
BETTER = "higher"
RANGE = (0.0, 1.0)
EVIDENCE = ("target", "score")
KERNEL = ("average_precision",)


def measure(target: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted average precision of each replicate (replicates,); NaN without both classes.

    The area under the stepwise precision-recall curve, with cases of equal score taken together, as in scikit-learn.
    """
    with_finding = np.flatnonzero(target == 1)
    true, _ = _at_least(score[with_finding], score, with_finding, weights)
    false, negatives = _at_least(score[with_finding], score, np.flatnonzero(target == 0), weights)
    drawn = weights.take(with_finding, axis=1).astype(float)
    # 0 / 0 if no case with at least this score is drawn; that case's own weight is then 0 as well
    precision = np.divide(true, true + false, out=np.zeros(true.shape), where=true > 0)
    positives = drawn.sum(axis=1)
    total = np.einsum("rc,rc->r", drawn, precision)
    return np.divide(total, positives, out=np.full(len(weights), np.nan), where=(positives > 0) & (negatives > 0))


def _at_least(
    thresholds: np.ndarray, score: np.ndarray, cases: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the cases at or above each threshold (replicates, thresholds), and of all cases (replicates,)."""
    descending = cases[np.argsort(-score[cases], kind="stable")]
    reached = np.searchsorted(-score[descending], -thresholds, side="right")
    sums = weighing.first(weights, order=descending, places=np.append(reached, len(descending)))
    return sums[:, :-1], sums[:, -1]
