"""Weighing: cumulative weights of cases in a given order, for many replicates at once."""

import numpy as np


def first(weights: np.ndarray, *, order: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The total weight of the first k cases of `order`, for each k in `places`: (replicates, places).

    Integer weights give integer sums.
    """
    kind = np.result_type(weights.dtype, np.int64)
    # sums between neighbouring places only: a cumulative sum over all cases would need much more memory
    cuts = np.unique(np.append(places, 0))
    sums = np.zeros((len(weights), len(cuts) + 1), kind)
    inside = cuts[cuts < len(order)]
    if inside.size:
        between = np.add.reduceat(weights.take(order, axis=1), inside, axis=1, dtype=kind)
        np.cumsum(between, axis=1, out=sums[:, 1 : len(inside) + 1])
    return sums.take(np.searchsorted(cuts, places), axis=1)
