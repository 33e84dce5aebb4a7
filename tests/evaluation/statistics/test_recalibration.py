"""Recalibration against closed forms, scikit-learn, statsmodels and scipy."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from headwater.evaluation.statistics import recalibration


def drawn(seed: int, *, cases: int = 400, intercept: float = 0.0, slope: float = 1.0):
    """(target, score, patient): findings that follow expit(intercept + slope x score); two cases a patient."""
    draw = np.random.default_rng(seed)
    score = draw.normal(size=cases) * 1.5
    target = (draw.random(cases) < expit(intercept + slope * score)).astype(float)
    return target, score, np.arange(cases) // 2


PARAMETERS = {"seed": st.integers(0, 10**6), "intercept": st.floats(-2, 2), "slope": st.floats(0.2, 2)}


def test_one_score_for_all_leaves_the_shares_to_speak():
    target, score = np.array([1.0, 0, 0, 0]), np.full(4, 0.5)
    found = recalibration.in_the_large(target, score, np.arange(4), patients=4)
    assert found.value == pytest.approx(logit(0.25) - 0.5, abs=1e-12)
    # the formula of a share's log-odds: (y - p) / (n p (1 - p))
    assert found.influence == pytest.approx((target - 0.25) / (4 * 0.25 * 0.75), abs=1e-12)
    assert np.isnan(recalibration.slope(target, score, np.arange(4), patients=4).value)


@settings(max_examples=30, deadline=None)
@given(**PARAMETERS, times=st.integers(0, 1000))
def test_intercept_and_slope_are_scikit_learns(seed, intercept, slope, times):
    """A case that stands there k times is a case of weight k to scikit-learn."""
    target, score, _ = drawn(seed, cases=120, intercept=intercept, slope=slope)
    weight = np.random.default_rng(times).integers(1, 4, len(target))
    if not recalibration.overlapping(target, score):
        return
    repeated, patient = [np.repeat(part, weight) for part in (target, score)], np.repeat(np.arange(120), weight)
    peer = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    peer.fit(score[:, None], target, sample_weight=weight)
    found = recalibration.slope(*repeated, patient, patients=120)
    assert found.value == pytest.approx(peer.coef_[0, 0], rel=1e-6)
    large = recalibration.in_the_large(*repeated, patient, patients=120).value
    offset = sm.GLM(repeated[0], np.ones(len(repeated[0])), family=sm.families.Binomial(), offset=repeated[1]).fit()
    assert large == pytest.approx(offset.params[0], abs=1e-7)


@settings(max_examples=20, deadline=None)
@given(**PARAMETERS)
def test_the_influences_are_statsmodels_sandwich_of_patients(seed, intercept, slope):
    target, score, patient = drawn(seed, intercept=intercept, slope=slope)
    clustered = {"cov_type": "cluster", "cov_kwds": {"groups": patient, "use_correction": False}}
    design = {"endog": target, "family": sm.families.Binomial()}
    fits = [
        (recalibration.slope, sm.GLM(exog=sm.add_constant(score), **design).fit(tol=1e-12, **clustered), 1),
        (recalibration.in_the_large, sm.GLM(exog=np.ones(400), offset=score, **design).fit(tol=1e-12, **clustered), 0),
    ]
    for fit, peer, at in fits:
        found = fit(target, score, patient, patients=200)
        assert found.influence.sum() == pytest.approx(0, abs=1e-6)
        variance = recalibration.covariance(found.influence[None])[0, 0]
        assert variance == pytest.approx(peer.cov_params()[at, at], rel=1e-5)
        stretched = recalibration.covariance(found.influence[None], patients=20)[0, 0]
        assert stretched == pytest.approx(variance * 20 / 19)


def test_the_influences_foretell_the_spread_over_redrawn_patients():
    target, score, patient = drawn(3, cases=1200, intercept=-0.5, slope=0.7)
    found = recalibration.slope(target, score, patient, patients=600)
    draw, again = np.random.default_rng(0), []
    for _ in range(300):
        rows = (2 * draw.integers(600, size=600)[:, None] + [0, 1]).ravel()
        again.append(recalibration.slope(target[rows], score[rows], patient, patients=600).value)
    error = np.sqrt(recalibration.covariance(found.influence[None])[0, 0])
    assert np.std(again) == pytest.approx(error, rel=0.15)


@pytest.mark.parametrize(
    ("target", "score"),
    [([0, 0, 1, 1], [0, 1, 2, 3]), ([0, 0, 1, 1], [0, 1, 1, 2]), ([1, 1, 0, 0], [0, 1, 2, 3]), ([1, 1, 1], [0, 1, 2])],
)
def test_scores_that_part_the_classes_have_no_slope(target, score):
    target, score = np.array(target, float), np.array(score, float)
    found = recalibration.slope(target, score, np.arange(len(target)), patients=len(target))
    assert np.isnan(found.value) and np.isnan(found.influence).all()


def test_a_split_of_one_class_has_neither_intercept_nor_temperature():
    none = np.zeros(3), np.array([0.1, 0.2, 0.3])
    assert np.isnan(recalibration.in_the_large(*none, np.arange(3), patients=3).value)
    assert np.isnan(recalibration.temperature(*none))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), true=st.floats(0.3, 5))
def test_a_known_temperature_is_recovered_and_is_scipys_optimum(seed, true):
    draw = np.random.default_rng(seed)
    honest = draw.normal(size=4000) * 2
    target, score = (draw.random(4000) < expit(honest)).astype(float), honest * true
    found = recalibration.temperature(target, score)
    assert found == pytest.approx(true, rel=0.15)
    peer = minimize_scalar(
        lambda cold: recalibration.log_loss(target, score / np.exp(cold)),
        bounds=(-4, 4),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert recalibration.log_loss(target, score / found) <= peer.fun + 1e-12
    assert found == pytest.approx(np.exp(peer.x), rel=1e-4)


def test_where_no_temperature_is_best_the_end_of_the_search_is_told():
    target, score = np.array([1.0, 1, 0, 0]), np.array([2.0, 1, -1, -2])
    assert recalibration.temperature(target, score) == recalibration.COLDEST
    assert recalibration.temperature(1 - target, score) == recalibration.HOTTEST


def test_the_log_loss_is_scikit_learns():
    target, score, _ = drawn(5)
    assert recalibration.log_loss(target, score) == pytest.approx(log_loss(target, expit(score)), abs=1e-12)
