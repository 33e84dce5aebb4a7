"""R2: the share of the variance of a number that predictions explain; below 0 they are worse than its mean."""

import math

import numpy as np

from headwater.evaluation.statistics import means

TITLE = "R²"
BETTER = "higher"
RANGE = (-math.inf, 1.0)
NOTE = (
    "R²: 1 less the sum of squared errors over that of squared differences from the mean of the test cases; 0 is as "
    "good as saying that mean always."
)
CLASSES = ("positive",)
EVIDENCE = ("target", "value", "predicted")


def measure(target: np.ndarray, value: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """R2 of each replicate (replicates,), a row of `weights` (replicates, cases); NaN where all values are one."""
    known = np.flatnonzero(target == 1)
    value, predicted, weights = value[known].astype(float), predicted[known].astype(float), weights[:, known]
    # from the mean of all cases, so that large values lose no digits; R2 does not change
    value, predicted = value - value.mean(), predicted - value.mean()
    wrong = means.weighted((predicted - value) ** 2, weights)
    spread = means.weighted(value**2, weights) - means.weighted(value, weights) ** 2
    # what rounding leaves of values that are all one is no spread
    least = 1e-12 * max(float(np.square(value).max(initial=0.0)), np.finfo(float).tiny)
    return 1 - np.divide(wrong, spread, out=np.full(len(weights), np.nan), where=spread > least)
