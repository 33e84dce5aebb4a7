"""Significance: bootstrap p-values of differences."""

import numpy as np


def two_sided(replicates: np.ndarray, *, observed: float) -> float:
    """The two-sided bootstrap p of a difference: twice the rarer side of zero, with the data as one more replicate.

    min(1, 2 min(1 + #{d <= 0}, 1 + #{d >= 0}) / (B + 1)) over the B defined replicates, so never 0. An observed
    difference of exactly 0 has p = 1. NaN if no replicate is defined.
    """
    defined = replicates[~np.isnan(replicates)]
    if defined.size == 0 or np.isnan(observed):
        return np.nan
    if observed == 0:
        return 1.0
    rarer = 1 + min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return float(min(1.0, 2 * rarer / (defined.size + 1)))


def above(replicates: np.ndarray, *, bound: float) -> float:
    """The one-sided bootstrap p of the null hypothesis that a difference is at most `bound`.

    (1 + #{d <= bound}) / (B + 1) over the B defined replicates; NaN if none is defined.
    """
    defined = replicates[~np.isnan(replicates)]
    return float((1 + np.count_nonzero(defined <= bound)) / (defined.size + 1)) if defined.size else np.nan


def smallest(resamples: int) -> float:
    """The smallest p that `resamples` replicates can give."""
    return 2 / (resamples + 1)
