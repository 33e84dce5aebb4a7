"""Intervals: confidence intervals from bootstrap replicates."""

import numpy as np


def percentile(replicates: np.ndarray, *, level: float) -> tuple[float, float]:
    """The percentile interval, which excludes `level` / 2 of the defined replicates on either side; NaN without any."""
    defined = replicates[~np.isnan(replicates)]
    if defined.size == 0:
        return np.nan, np.nan
    low, high = np.quantile(defined, [level / 2, 1 - level / 2])
    return float(low), float(high)
