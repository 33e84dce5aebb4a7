"""Figures of features without labels: whether different images still differ, and whether views of one image agree."""

import numpy as np

DELTA = 1e-4
"""What LiDAR adds to the variance within images along each feature, so that it can be inverted."""


def spread(features: np.ndarray) -> float:
    """Mean standard deviation of features (images, width), scaled to length 1, relative to random directions.

    1 for random directions, 0 if all are the same (Chen & He 2021, arXiv 2011.10566, section 4.1).
    """
    return float(_directions(features).std(axis=0).mean() * np.sqrt(features.shape[1]))


def rankme(features: np.ndarray) -> float:
    """RankMe of features (images, width): the exponential of the entropy of their singular values.

    It lies between 1 and min(images, width) (Garrido et al. 2023, arXiv 2210.02885, definition 3.1; the effective rank
    of Roy & Vetterli 2007). The features are not centred.
    """
    # the singular value decomposition raises an error on NaN
    if not np.isfinite(features).all():
        return float("nan")
    return _effective_number(np.linalg.svd(features.astype(np.float64), compute_uv=False))


def uniformity(features: np.ndarray) -> float:
    """Logarithm of the mean of exp(-2 d²) over pairs of images, d the distance of their features (images, width).

    They are scaled to length 1: 0 if all are the same, about -4 for random directions in many dimensions; lower is more
    even (Wang & Isola 2020, arXiv 2005.10242, section 4.1.2 with t = 2). NaN of one image.
    """
    if len(features) < 2:
        return float("nan")
    directions = _directions(features)
    lengths = (directions**2).sum(axis=1)
    squared = (lengths[:, None] + lengths - 2 * directions @ directions.T).clip(min=0)
    return float(np.log(np.exp(-2 * squared[np.triu_indices(len(features), 1)]).mean()))


def alignment(views: np.ndarray) -> float:
    """Mean squared distance of the features of two views of an image, (images, views, width), scaled to length 1.

    0 if all views of an image have the same features, about 2 for random directions (Wang & Isola 2020, section 4.1.1
    with alpha = 2). The mean is over all pairs of views.
    """
    directions = _directions(views)
    # the mean over pairs is twice the variance, so that no pair need be formed
    return float(2 * directions.var(axis=1, ddof=1).sum(axis=-1).mean())


def lidar(views: np.ndarray) -> float:
    """LiDAR of the features of views (images, views, width): how many directions tell images apart, despite the views.

    The exponential of the entropy of the eigenvalues of a linear discriminant analysis whose classes are the images
    (Thilak et al. 2023, arXiv 2312.04000, section 4). It lies between 1 and min(images - 1, width).
    """
    if not np.isfinite(views).all():
        return float("nan")
    exact = views.astype(np.float64)
    means = exact.mean(axis=1)
    within = (exact - means[:, None]).reshape(-1, exact.shape[-1])
    scatter = within.T @ within / len(within) + DELTA * np.eye(exact.shape[-1])
    between = means - means.mean(axis=0)
    # the same eigenvalues as those of scatter^-1/2 between' between scatter^-1/2, but for zeros
    values = np.linalg.eigvalsh(between @ np.linalg.solve(scatter, between.T))
    return _effective_number(values.clip(min=0))


def _directions(features: np.ndarray) -> np.ndarray:
    """Features scaled to length 1 along the last axis, in float64."""
    exact = features.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=-1, keepdims=True)
    # features that are all zero stay zero instead of NaN
    return exact / np.maximum(lengths, np.finfo(np.float64).tiny)


def _effective_number(values: np.ndarray) -> float:
    """The exponential of the entropy of values that are not negative, as shares of their sum."""
    total = values.sum()
    # 0 log 0 counts as 0; if all are zero, there is one direction
    shares = values[values > 0] / total if total > 0 else np.ones(1)
    return float(np.exp(-(shares * np.log(shares)).sum()))
