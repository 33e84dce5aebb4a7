"""Measures of collapse: whether the features of different images still differ."""

import numpy as np


def spread(features: np.ndarray) -> float:
    """Mean standard deviation of features (images, width), scaled to length 1, relative to random directions.

    1 for random directions, 0 if all are the same (Chen & He 2021, arXiv 2011.10566, section 4.1).
    """
    exact = features.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    # features that are all zero stay zero instead of NaN
    directions = exact / np.maximum(lengths, np.finfo(np.float64).tiny)
    return float(directions.std(axis=0).mean() * np.sqrt(features.shape[1]))


def effective_rank(features: np.ndarray) -> float:
    """Effective rank of features (images, width): the exponential of the entropy of their singular values.

    It lies between 1 and min(images, width) (RankMe: Garrido et al. 2023, arXiv 2210.02885, definition 3.1).
    """
    # the singular value decomposition raises an error on NaN
    if not np.isfinite(features).all():
        return float("nan")
    values = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    total = values.sum()
    # 0 log 0 counts as 0; features that are all zero have rank 1
    shares = values[values > 0] / total if total > 0 else np.ones(1)
    return float(np.exp(-(shares * np.log(shares)).sum()))
