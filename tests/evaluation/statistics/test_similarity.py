"""Similarities equal the papers' formulas, window by window, and scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score

from headwater.data.neighbours.similarity import mutual, structural


def pair(seed: int, *, height: int, width: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """An image and what noise makes of it, uint8."""
    draw = np.random.default_rng(seed)
    one = draw.integers(0, 256, (height, width))
    other = np.clip(one + draw.normal(0, 1 + 255 * noise, one.shape), 0, 255)
    return one.astype(np.uint8), other.astype(np.uint8)


def by_windows(one: np.ndarray, other: np.ndarray) -> float:
    """Equation 13 of Wang et al. 2004 in each 7 x 7 window, with np.cov."""
    first, second = (
        np.lib.stride_tricks.sliding_window_view(image.astype(float), (7, 7)).reshape(-1, 49) for image in (one, other)
    )
    low, high = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = []
    for a, b in zip(first, second, strict=True):
        (aa, ab), (_, bb) = np.cov(a, b)
        means = (2 * a.mean() * b.mean() + low) / (a.mean() ** 2 + b.mean() ** 2 + low)
        found.append(means * (2 * ab + high) / (aa + bb + high))
    return float(np.mean(found))


SHAPES = {"seed": st.integers(0, 999), "height": st.integers(7, 16), "width": st.integers(7, 16)}


@settings(max_examples=25, deadline=None)
@given(**SHAPES, noise=st.sampled_from([0.0, 0.02, 0.2, 1.0]))
def test_structure_is_that_of_the_formula_in_each_window(seed: int, height: int, width: int, noise: float):
    one, other = pair(seed, height=height, width=width, noise=noise)
    assert structural(one, other) == pytest.approx(by_windows(one, other), rel=1e-9, abs=1e-12)
    assert structural(one, other) == structural(other, one)
    assert structural(one, one) == 1.0


def test_flat_images_differ_by_their_means_alone():
    black, white = np.zeros((9, 9), np.uint8), np.full((9, 9), 255, np.uint8)
    low = (0.01 * 255) ** 2
    assert structural(black, white) == pytest.approx(low / (255**2 + low))
    assert structural(white, white) == 1.0


@settings(max_examples=40, deadline=None)
@given(**SHAPES, noise=st.sampled_from([0.0, 0.02, 0.2, 1.0]), bins=st.sampled_from([2, 10, 64, 256]))
def test_information_is_that_of_scikit_learn(seed: int, height: int, width: int, noise: float, bins: int):
    one, other = pair(seed, height=height, width=width, noise=noise)
    parts = [(image.astype(int) * bins // 256).ravel() for image in (one, other)]
    assert mutual(one, other, bins) == pytest.approx(normalized_mutual_info_score(*parts), abs=1e-9)


def test_images_of_one_grey_tell_all_of_each_other_and_nothing_of_others():
    flat, other = np.full((8, 8), 3, np.uint8), np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert mutual(flat, flat, 64) == 1.0
    assert mutual(flat, other, 64) == pytest.approx(0.0, abs=1e-12)
