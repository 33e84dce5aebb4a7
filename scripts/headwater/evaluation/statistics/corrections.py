"""Corrections: p-values adjusted for multiple testing."""

from collections.abc import Callable

import numpy as np
from scipy.stats import norm
from statsmodels.stats.multitest import fdrcorrection


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p, which controls the family-wise error rate (Holm 1979)."""
    return _adjusted(p, correct=_holm)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p, which controls the false discovery rate (1995)."""
    return _adjusted(p, correct=lambda tested: fdrcorrection(tested)[1])


def max_t(p: np.ndarray, replicates: np.ndarray) -> np.ndarray:
    """Step-down max-T adjusted p (Westfall & Young 1993; Romano & Wolf 2005).

    It controls the family-wise error rate as Holm's does, but is less conservative for correlated tests. `replicates`
    (resamples, tests) are each test's differences with patients and seeds resampled. The statistic of a test is the
    normal quantile of its p; its null distribution is that of the standardised replicates. A replicate in which any
    test is undefined is dropped for all of them. With fewer than two replicates every adjusted p is 1. A p of NaN is
    not a test.
    """
    p = np.asarray(p, dtype=float)
    adjusted, tested = np.full(p.shape, np.nan), ~np.isnan(p)
    if tested.any():
        whole = whole_replicates(replicates[:, tested])
        # maximum: an adjusted p must not be below p, which few distinct resamples of few seeds could cause
        adjusted[tested] = np.maximum(_stepped_down(norm.isf(p[tested] / 2), _null(whole)), p[tested])
    return adjusted


def whole_replicates(replicates: np.ndarray) -> np.ndarray:
    """The replicates (resamples, tests) in which every test is defined."""
    return replicates[~np.isnan(replicates).any(axis=1)]


def _null(replicates: np.ndarray) -> np.ndarray:
    """The statistic of each test in each replicate under the null hypothesis: (resamples, tests)."""
    if len(replicates) < 2:
        return np.empty((0, replicates.shape[1]))
    # a test that never varies gets 0 instead of 0 / 0
    varies = np.ptp(replicates, axis=0) > 0
    spread = np.where(varies, replicates.std(axis=0, ddof=1), 1.0)
    return np.where(varies, np.abs(replicates - replicates.mean(axis=0)) / spread, 0.0)


def _stepped_down(statistic: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Adjusted p: the largest statistic against the maximum over all tests, the next over the remaining ones, ..."""
    order = np.argsort(-statistic, kind="stable")
    # maxima over a test and all weaker ones, accumulated from the weakest
    largest = np.maximum.accumulate(null[:, order[::-1]], axis=1)[:, ::-1]
    # the data count as one more replicate, so p is never 0
    p = (1 + (largest >= statistic[order]).sum(axis=0)) / (len(null) + 1)
    adjusted = np.empty(len(statistic))
    # a weaker test never gets a smaller p than a stronger one
    adjusted[order] = np.maximum.accumulate(p)
    return adjusted


def _holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p of tests; statsmodels' own collects all garbage first, which can take half a second."""
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted


def _adjusted(p: np.ndarray, *, correct: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Adjusted p in the order of `p`; a NaN is not a test: it stays NaN and does not count in the family."""
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        adjusted[tested] = correct(p[tested])
    return adjusted
