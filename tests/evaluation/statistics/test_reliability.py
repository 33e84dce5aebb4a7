"""Points of reliability plots against scikit-learn and scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from headwater.evaluation.statistics import reliability


def test_points_are_scikit_learns_and_intervals_wilsons():
    draw = np.random.default_rng(0)
    chance = draw.random(1000) ** 2
    target = (draw.random(1000) < chance).astype(float)
    points = reliability.points(target, chance, np.arange(1000), level=0.05)
    observed, predicted = calibration_curve(target, chance, n_bins=10, strategy="quantile")
    assert points["predicted"].to_numpy() == pytest.approx(predicted, abs=1e-12)
    assert points["observed"].to_numpy() == pytest.approx(observed, abs=1e-12)
    assert points["scored"].tolist() == [100] * 10
    for point in points.itertuples():
        peer = binomtest(round(point.observed * 100), 100).proportion_ci(0.95, method="wilson")
        assert (point.low, point.high) == pytest.approx((peer.low, peer.high), abs=1e-9)


def test_equal_chances_share_a_bin_in_any_order():
    chance, target = np.repeat([0.1, 0.6], [70, 30]), np.repeat([0.0, 1.0, 0.0], [70, 20, 10])
    turned = np.random.default_rng(1).permutation(100)
    points = reliability.points(target[turned], chance[turned], np.arange(100), level=0.05)
    assert points["scored"].tolist() == [70, 30] and points["predicted"].tolist() == pytest.approx([0.1, 0.6])
    assert points["observed"].tolist() == pytest.approx([0, 2 / 3])


def test_a_case_that_several_runs_scored_makes_no_interval_narrower():
    draw = np.random.default_rng(2)
    chance, target = draw.random(200), draw.integers(0, 2, 200).astype(float)
    once = reliability.points(target, chance, np.arange(200), level=0.05)
    thrice = reliability.points(np.tile(target, 3), np.tile(chance, 3), np.tile(np.arange(200), 3), level=0.05)
    assert thrice["scored"].tolist() == (3 * once["scored"]).tolist()
    for column in ("predicted", "observed", "low", "high", "patients"):
        assert thrice[column].to_numpy() == pytest.approx(once[column].to_numpy(), abs=1e-12)
