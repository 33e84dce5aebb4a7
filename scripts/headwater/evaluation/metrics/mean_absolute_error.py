"""Mean absolute error: by how much a predicted number is wrong, in its own unit."""

import math

import numpy as np

from headwater.evaluation.statistics import means

TITLE = "mean absolute error"
BETTER = "lower"
RANGE = (0.0, math.inf)
DIGITS = 2
NOTE = (
    "Mean absolute error: the absolute difference of the predicted number and the true one, in the number's own unit, "
    "over the test cases of which it is known. Lower is better. A macro over different units means nothing."
)
CLASSES = ("positive",)
EVIDENCE = ("target", "value", "predicted")


def per_case(target: np.ndarray, value: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The absolute error of each case whose number is known (cases,); else NaN."""
    return np.where(target == 1, abs(predicted - value), np.nan)


def measure(target: np.ndarray, value: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of each replicate (replicates,)."""
    return means.weighted(per_case(target, value, predicted), weights)
