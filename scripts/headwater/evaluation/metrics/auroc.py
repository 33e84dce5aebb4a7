"""Area under the ROC curve: the probability that a case with the finding scores higher than a case without it."""

import numpy as np

from headwater.evaluation.statistics import weighing

TITLE = "AUROC"
BETTER = "higher"
RANGE = (0.0, 1.0)
EVIDENCE = ("target", "score")
CHANCE = 0.5
KERNEL = ("auroc",)


def measure(target: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted AUROC of each replicate (replicates,); equal scores count half; NaN without both classes.

    The Mann-Whitney form: for each case with the finding, the weight of the cases without it that score lower.
    """
    with_finding, without = np.flatnonzero(target == 1), np.flatnonzero(target == 0)
    without = without[np.argsort(score[without], kind="stable")]
    lower = np.searchsorted(score[without], score[with_finding], side="left")
    not_higher = np.searchsorted(score[without], score[with_finding], side="right")
    # (replicates, cases with the finding), then twice, then one column of the weight of all cases without it
    places = np.concatenate([lower, not_higher, [len(without)]])
    beaten = weighing.first(weights, order=without, places=places)
    # integer weights stay integers, so that a weight of 2 equals a repeated case exactly
    positives = weights.take(with_finding, axis=1).astype(beaten.dtype)
    twice_won = np.einsum("rc,rc->r", positives, beaten[:, : len(lower)])
    twice_won += np.einsum("rc,rc->r", positives, beaten[:, len(lower) : -1])
    # lower and not_higher differ by the ties, so their sum counts wins twice and ties once
    pairs = positives.sum(axis=1).astype(float) * beaten[:, -1]
    return np.divide(twice_won, 2 * pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
