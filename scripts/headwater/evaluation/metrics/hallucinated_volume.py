"""Hallucinated volume: how many millilitres of a structure are drawn, on average, in cases that lack it."""

import math

import numpy as np

from headwater.evaluation.statistics import means

TITLE = "hallucinated volume (ml)"
BETTER = "lower"
RANGE = (0.0, math.inf)
DIGITS = 2
VOLUME = True
NOTE = "Hallucinated volume: what is drawn of the structure in cases whose reference lacks it. Lower is better."
CLASSES = ("negative",)
EVIDENCE = ("target", "predicted_ml")


def per_case(target: np.ndarray, predicted_ml: np.ndarray) -> np.ndarray:
    """The millilitres drawn in each case without the structure (cases,); NaN for cases with it."""
    return np.where(target == 0, predicted_ml, np.nan)


def measure(target: np.ndarray, predicted_ml: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of each replicate (replicates,) over the cases without the structure."""
    return means.weighted(per_case(target, predicted_ml), weights)
