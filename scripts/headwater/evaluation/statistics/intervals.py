"""Intervals: between which values a statistic lies, judged by its bootstrap replicates."""

import numpy as np


def percentile(replicates: np.ndarray, *, level: float) -> tuple[float, float]:
    """The interval that leaves out `level` / 2 of the defined replicates on either side; NaN if none is defined."""
    defined = replicates[~np.isnan(replicates)]
    if defined.size == 0:
        return np.nan, np.nan
    low, high = np.quantile(defined, [level / 2, 1 - level / 2])
    return float(low), float(high)
