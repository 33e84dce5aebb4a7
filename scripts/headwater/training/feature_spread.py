"""Collapse: does a network still tell images apart, or does it give all of them one answer?"""

import numpy as np


def spread(features: np.ndarray) -> float:
    """Mean spread of features (images, width) over images, each of length 1, in units of that of random directions.

    1 for directions drawn by chance, 0 for one and the same (Chen & He 2021, arXiv 2011.10566, section 4.1).
    """
    exact = features.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    directions = exact / np.maximum(lengths, np.finfo(np.float64).tiny)
    return float(directions.std(axis=0).mean() * np.sqrt(features.shape[1]))


def effective_rank(features: np.ndarray) -> float:
    """In how many directions features (images, width) differ: e to the entropy of their singular values.

    From 1 to the smaller of the two sides (RankMe: Garrido et al. 2023, arXiv 2210.02885, definition 3.1).
    """
    if not np.isfinite(features).all():
        return float("nan")
    values = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    total = values.sum()
    shares = values[values > 0] / total if total > 0 else np.ones(1)
    return float(np.exp(-(shares * np.log(shares)).sum()))
