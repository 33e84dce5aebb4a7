"""Brier score: the mean squared difference between the predicted probability and the target."""

import numpy as np

from headwater.core.errors import UserError
from headwater.evaluation.statistics import means

TITLE = "Brier score"
BETTER = "lower"
RANGE = (0.0, 1.0)
EVIDENCE = ("target", "score")
PROBABILITIES = True


def per_case(target: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The squared difference of each case (cases,); scores must be probabilities (Brier 1950)."""
    if len(score) and not (score.min() >= 0 and score.max() <= 1):
        raise UserError(
            f"the Brier score needs probabilities, but scores are from {score.min():g} to {score.max():g}",
            remedy="remove brier from comparison.metrics, or predict probabilities",
        )
    return (score - target) ** 2


def measure(target: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted Brier score of each replicate (replicates,)."""
    return means.weighted(per_case(target, score), weights)
