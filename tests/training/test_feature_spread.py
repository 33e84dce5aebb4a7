"""Figures of features have the expected values for features of known geometry, and those of other programs."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy

from headwater.training.feature_spread import alignment, lidar, rankme, spread, uniformity

FEATURES = arrays(np.float64, st.tuples(st.integers(2, 9), st.integers(1, 7)), elements=st.floats(-5, 5, width=32))


@given(FEATURES)
def test_spread_and_rank_are_what_torch_and_scipy_give(features):
    if np.abs(features).max() < 1e-6 or (np.linalg.norm(features, axis=1) < 1e-6).any():
        return
    tensor = torch.from_numpy(features)
    ours = F.normalize(tensor, dim=1).std(dim=0, correction=0).mean() * features.shape[1] ** 0.5
    assert spread(features) == pytest.approx(float(ours), abs=1e-9)
    values = torch.linalg.svdvals(tensor).numpy()
    assert rankme(features) == pytest.approx(np.exp(entropy(values)), rel=1e-6)
    assert 1 - 1e-9 <= rankme(features) <= min(features.shape) * (1 + 1e-9)


def test_random_directions_have_a_spread_of_one_and_one_direction_of_none():
    assert spread(np.random.default_rng(0).normal(size=(4000, 64))) == pytest.approx(1, abs=0.02)
    one = np.tile(np.arange(1.0, 9.0), (20, 1))
    assert spread(one) < 1e-12 and spread(one * np.arange(1, 21)[:, None]) < 1e-12
    assert spread(np.zeros((3, 4))) == 0


def test_the_rank_counts_directions_of_equal_weight():
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]
    for directions in (1, 3, 12):
        assert rankme(basis[:, :directions] @ basis[:directions]) == pytest.approx(directions)
    assert rankme(np.zeros((3, 4))) == 1
    assert np.isnan(rankme(np.full((3, 4), np.nan)))


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_alignment_and_uniformity_are_those_of_the_papers_code():
    """Figure 5 of arXiv 2005.10242, on features of length 1."""
    views = drawn(30, 2, 7)
    x, y = F.normalize(torch.from_numpy(views), dim=2).unbind(dim=1)
    assert alignment(views) == pytest.approx(float((x - y).norm(dim=1).pow(2).mean()))
    assert uniformity(views[:, 0]) == pytest.approx(float(torch.pdist(x).pow(2).mul(-2).exp().mean().log()))
    # more views: the mean over their pairs
    more = drawn(9, 4, 5)
    pairs = [alignment(more[:, [one, other]]) for one in range(4) for other in range(one)]
    assert alignment(more) == pytest.approx(np.mean(pairs))


def by_definition(views):
    """LiDAR with the matrices of section 4 of arXiv 2312.04000, and a square root of one of them."""
    images, count, width = views.shape
    means, within = views.mean(axis=1), 1e-4 * np.eye(width)
    for image, mean in zip(views, means, strict=True):
        for view in image:
            within += np.outer(view - mean, view - mean) / (images * count)
    between = np.cov(means.T)
    values, vectors = np.linalg.eigh(within)
    root = vectors / np.sqrt(values) @ vectors.T
    found = np.linalg.eigvalsh(root @ between @ root)
    return np.exp(entropy(found.clip(min=0)))


def test_lidar_is_that_of_its_definition():
    for images, count, width in ((12, 4, 5), (6, 3, 9), (40, 10, 6)):
        views = drawn(images, 1, width) * np.arange(1, width + 1) + 0.3 * drawn(images, count, width, seed=1)
        assert lidar(views) == pytest.approx(by_definition(views), rel=1e-6)
        assert 1 <= lidar(views) <= min(images - 1, width)


def test_even_features_are_at_one_end_and_collapsed_ones_at_the_other():
    even, one = drawn(500, 1, 16), np.tile(drawn(1, 1, 16), (500, 1, 1))
    alike, noise = np.repeat(even, 4, axis=1), 0.01 * drawn(500, 4, 16, seed=1)
    assert rankme(even[:, 0]) > 15.5 and rankme(one[:, 0]) == pytest.approx(1)
    assert lidar(alike + noise) > 15 and lidar(np.repeat(one, 4, axis=1)) == pytest.approx(1)
    assert alignment(alike) < 1e-12 and alignment(drawn(500, 4, 16)) == pytest.approx(2, abs=0.05)
    # of random directions in this many dimensions; -4 in many more
    assert uniformity(even[:, 0]) == pytest.approx(-3.55, abs=0.1) and uniformity(one[:, 0]) == pytest.approx(0)
    assert uniformity(drawn(500, 2048)) == pytest.approx(-4, abs=0.01)
    half = np.where(np.arange(500)[:, None] < 250, one[:, 0], even[:, 0])
    assert uniformity(even[:, 0]) < uniformity(half) < uniformity(one[:, 0])


def test_lidar_ignores_directions_in_which_the_views_of_an_image_differ_as_much():
    """What RankMe counts: a direction that only says how an image was changed."""
    told, changed = drawn(300, 1, 4), drawn(300, 10, 12, seed=1)
    views = np.concatenate([np.repeat(told, 10, axis=1), changed], axis=2)
    assert rankme(views[:, 0]) > 15 and lidar(views) < 4.5


def test_what_is_no_number_stays_none():
    views = np.full((3, 2, 4), np.nan)
    assert np.isnan([lidar(views), alignment(views), uniformity(views[:, 0]), uniformity(np.ones((1, 4)))]).all()
