"""Average precision: the mean share of true findings among all cases that score at least as high as each true one."""

import numpy as np

from headwater.evaluation.statistics import weighing

TITLE = "average precision"
BETTER = "higher"
RANGE = (0.0, 1.0)
EVIDENCE = ("target", "score")
KERNEL = ("average_precision",)


def measure(target: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted average precision of each replicate (replicates,); NaN without both classes.

    The area under the stepwise precision-recall curve, cases of equal score taken together, as scikit-learn has it.
    """
    with_finding = np.flatnonzero(target == 1)
    true, _ = _at_least(score[with_finding], score, with_finding, weights)
    false, negatives = _at_least(score[with_finding], score, np.flatnonzero(target == 0), weights)
    drawn = weights.take(with_finding, axis=1).astype(float)
    # a case that is not drawn may have none at its height or above
    precision = np.divide(true, true + false, out=np.zeros(true.shape), where=true > 0)
    positives = drawn.sum(axis=1)
    total = np.einsum("rc,rc->r", drawn, precision)
    return np.divide(total, positives, out=np.full(len(weights), np.nan), where=(positives > 0) & (negatives > 0))


def _at_least(
    heights: np.ndarray, score: np.ndarray, cases: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the cases that score at least each height (replicates, heights), and of all cases (replicates,)."""
    fall = cases[np.argsort(-score[cases], kind="stable")]
    reached = np.searchsorted(-score[fall], -heights, side="right")
    sums = weighing.first(weights, order=fall, places=np.append(reached, len(fall)))
    return sums[:, :-1], sums[:, -1]
