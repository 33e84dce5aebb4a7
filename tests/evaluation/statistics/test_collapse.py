"""Both measures of collapse have the expected values for features of known geometry."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy

from headwater.training.feature_spread import effective_rank, spread

FEATURES = arrays(np.float64, st.tuples(st.integers(2, 9), st.integers(1, 7)), elements=st.floats(-5, 5, width=32))


@given(FEATURES)
def test_both_are_what_torch_and_scipy_give(features):
    if np.abs(features).max() < 1e-6 or (np.linalg.norm(features, axis=1) < 1e-6).any():
        return
    tensor = torch.from_numpy(features)
    ours = F.normalize(tensor, dim=1).std(dim=0, correction=0).mean() * features.shape[1] ** 0.5
    assert spread(features) == pytest.approx(float(ours), abs=1e-9)
    values = torch.linalg.svdvals(tensor).numpy()
    assert effective_rank(features) == pytest.approx(np.exp(entropy(values)), rel=1e-6)
    assert 1 - 1e-9 <= effective_rank(features) <= min(features.shape) * (1 + 1e-9)


def test_random_directions_have_a_spread_of_one_and_one_direction_of_none():
    assert spread(np.random.default_rng(0).normal(size=(4000, 64))) == pytest.approx(1, abs=0.02)
    one = np.tile(np.arange(1.0, 9.0), (20, 1))
    assert spread(one) < 1e-12 and spread(one * np.arange(1, 21)[:, None]) < 1e-12
    assert spread(np.zeros((3, 4))) == 0


def test_the_rank_counts_directions_of_equal_weight():
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]
    for directions in (1, 3, 12):
        assert effective_rank(basis[:, :directions] @ basis[:directions]) == pytest.approx(directions)
    assert effective_rank(np.zeros((3, 4))) == 1
    assert np.isnan(effective_rank(np.full((3, 4), np.nan)))
