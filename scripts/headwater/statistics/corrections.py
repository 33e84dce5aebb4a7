"""Corrections: p-values adjusted for how many tests were declared."""

import numpy as np
from statsmodels.stats.multitest import multipletests


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p: the chance of any false claim in the family stays below the level (Holm 1979)."""
    return _adjusted(p, method="holm")


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p: the expected share of false claims stays below the level (1995)."""
    return _adjusted(p, method="fdr_bh")


def _adjusted(p: np.ndarray, *, method: str) -> np.ndarray:
    """Adjusted p in the order of `p`; a NaN was never tested: it stays NaN and does not count for the family."""
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        adjusted[tested] = multipletests(p[tested], method=method)[1]
    return adjusted
