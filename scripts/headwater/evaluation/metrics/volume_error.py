"""Volume error: by how many millilitres the volume of a structure is wrong, too large or too small."""

import math

import numpy as np

from headwater.evaluation.statistics import means

TITLE = "volume error (ml)"
BETTER = "lower"
RANGE = (0.0, math.inf)
DIGITS = 2
VOLUME = True
NOTE = (
    "Volume error: the absolute difference of the volumes, over the cases whose reference has the structure. Lower is "
    "better."
)
CLASSES = ("positive",)
EVIDENCE = ("target", "reference_ml", "predicted_ml")


def per_case(target: np.ndarray, reference_ml: np.ndarray, predicted_ml: np.ndarray) -> np.ndarray:
    """The absolute error of each case with the structure (cases,) in ml; else NaN."""
    return np.where(target == 1, abs(predicted_ml - reference_ml), np.nan)


def measure(target: np.ndarray, reference_ml: np.ndarray, predicted_ml: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of each replicate (replicates,) over the cases with the structure."""
    return means.weighted(per_case(target, reference_ml, predicted_ml), weights)
