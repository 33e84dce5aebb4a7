"""Weighing: how much the first few cases in an order weigh, for many replicates at once."""

import numpy as np


def first(weights: np.ndarray, *, order: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The weight of the first k cases of `order`, for each k in `places`: (replicates, places).

    Sums between neighbouring places only, so that a few places cost little memory; whole weights give whole sums.
    """
    kind = np.result_type(weights.dtype, np.int64)
    cuts = np.unique(np.append(places, 0))
    sums = np.zeros((len(weights), len(cuts) + 1), kind)
    inside = cuts[cuts < len(order)]
    if inside.size:
        between = np.add.reduceat(weights.take(order, axis=1), inside, axis=1, dtype=kind)
        np.cumsum(between, axis=1, out=sums[:, 1 : len(inside) + 1])
    return sums.take(np.searchsorted(cuts, places), axis=1)
