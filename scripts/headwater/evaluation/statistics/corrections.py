"""Corrections: p-values adjusted for how many tests were declared."""

import numpy as np
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p: the chance of any false claim in the family stays below the level (Holm 1979)."""
    return _adjusted(p, method="holm")


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p: the expected share of false claims stays below the level (1995)."""
    return _adjusted(p, method="fdr_bh")


def max_t(p: np.ndarray, replicates: np.ndarray) -> np.ndarray:
    """Step-down max-T adjusted p (Westfall & Young 1993; Romano & Wolf 2005): Holm's promise, but tests that hang
    together cost less.

    `replicates` (resamples, tests) hold each test's difference with patients and seeds resampled. A test's evidence is
    the normal quantile of its p; what chance alone brings is how far a replicate lies from its mean, in standard
    deviations. A replicate in which any test is undefined is dropped for all of them; a test that never varies brings
    nothing by chance. Without two whole replicates nothing can be rejected: 1. A p of NaN is no test.
    """
    p = np.asarray(p, dtype=float)
    adjusted, tested = np.full(p.shape, np.nan), ~np.isnan(p)
    if tested.any():
        whole = whole_replicates(replicates[:, tested])
        # few seeds have few resamples: no correction makes a test more certain than it was
        adjusted[tested] = np.maximum(_stepped_down(norm.isf(p[tested] / 2), _by_chance(whole)), p[tested])
    return adjusted


def whole_replicates(replicates: np.ndarray) -> np.ndarray:
    """The replicates (resamples, tests) in which every test is defined."""
    return replicates[~np.isnan(replicates).any(axis=1)]


def _by_chance(replicates: np.ndarray) -> np.ndarray:
    """The evidence of each test in each replicate if there were no difference: (resamples, tests)."""
    if len(replicates) < 2:
        return np.empty((0, replicates.shape[1]))
    varies = np.ptp(replicates, axis=0) > 0
    spread = np.where(varies, replicates.std(axis=0, ddof=1), 1.0)
    return np.where(varies, np.abs(replicates - replicates.mean(axis=0)) / spread, 0.0)


def _stepped_down(evidence: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Adjusted p: the strongest test against the largest evidence of all, the next against that of the rest, ..."""
    order = np.argsort(-evidence, kind="stable")
    largest = np.maximum.accumulate(chance[:, order[::-1]], axis=1)[:, ::-1]
    p = (1 + (largest >= evidence[order]).sum(axis=0)) / (len(chance) + 1)
    adjusted = np.empty(len(evidence))
    adjusted[order] = np.maximum.accumulate(p)
    return adjusted


def _adjusted(p: np.ndarray, *, method: str) -> np.ndarray:
    """Adjusted p in the order of `p`; a NaN was never tested: it stays NaN and does not count for the family."""
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        adjusted[tested] = multipletests(p[tested], method=method)[1]
    return adjusted
