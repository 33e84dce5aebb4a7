import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from headwater.evaluation.statistics.corrections import benjamini_hochberg, holm, max_t, whole_replicates

RESAMPLES = 20_000


def drawn(tests, *, seed=0, resamples=RESAMPLES):
    return np.random.default_rng(seed).normal(size=(resamples, tests))


@given(arrays(float, st.integers(1, 9), elements=st.sampled_from([0.0, 1.0]) | st.floats(0, 1)))
def test_holm_and_benjamini_hochberg_are_those_of_statsmodels(p):
    assert np.array_equal(holm(p), multipletests(p, method="holm")[1])
    assert np.array_equal(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1])


def test_max_t_of_independent_tests_is_as_strict_as_sidak_step_by_step():
    p = np.array([0.001, 0.01, 0.02, 0.4])
    expected = np.maximum.accumulate(1 - (1 - p) ** np.array([4, 3, 2, 1]))
    found = max_t(p, drawn(4))
    assert found == pytest.approx(expected, abs=0.008)
    assert (found <= holm(p) + 0.008).all()


def test_max_t_of_tests_that_always_agree_costs_nothing():
    p = np.array([0.002, 0.01, 0.03, 0.5])
    found = max_t(p, np.repeat(drawn(1), 4, axis=1) * [1, 2, -3, 0.1] + [5, 0, 0, -1])
    assert found == pytest.approx(p, abs=0.006)


def test_max_t_of_one_test_is_its_p():
    assert max_t(np.array([0.04]), drawn(1)) == pytest.approx([0.04], abs=0.004)


@settings(max_examples=40, deadline=None)
@given(arrays(float, 5, elements=st.floats(1e-6, 1)), st.permutations(range(5)), st.integers(0, 99))
def test_the_order_of_tests_changes_nothing(p, order, seed):
    replicates = drawn(5, seed=seed, resamples=200) @ np.random.default_rng(seed).normal(size=(5, 5))
    for correct in (holm, benjamini_hochberg, lambda part: max_t(part, replicates[:, order[: len(part)]])):
        found = correct(p[list(order)])
        back = max_t(p, replicates) if correct not in (holm, benjamini_hochberg) else correct(p)
        assert found == pytest.approx(back[list(order)])


@settings(max_examples=40, deadline=None)
@given(arrays(float, 4, elements=st.floats(0, 1)), st.integers(0, 99))
def test_max_t_keeps_the_order_of_p_and_is_never_zero(p, seed):
    found = max_t(p, drawn(4, seed=seed, resamples=99))
    assert (found >= 1 / 100).all() and (found <= 1).all()
    rising = np.argsort(p, kind="stable")
    assert (np.diff(found[rising]) >= 0).all()


def test_an_undefined_replicate_is_dropped_for_all_tests():
    p, replicates = np.array([0.01, 0.2]), drawn(2, resamples=50)
    with_gaps = np.insert(replicates, [3, 20], [[np.nan, 900.0], [900.0, np.nan]], axis=0)
    assert len(whole_replicates(with_gaps)) == 50
    assert np.array_equal(max_t(p, with_gaps), max_t(p, replicates))


def test_what_is_no_test_counts_for_nothing():
    p, replicates = np.array([0.01, np.nan, 0.2]), drawn(3, resamples=99)
    replicates[:, 1] = np.nan
    found = max_t(p, replicates)
    assert np.isnan(found[1]) and np.array_equal(found[[0, 2]], max_t(p[[0, 2]], replicates[:, [0, 2]]))
    assert (
        np.isnan(max_t(np.array([np.nan]), np.empty((0, 1)))).all() and max_t(np.array([]), np.empty((0, 0))).size == 0
    )


def test_without_whole_replicates_nothing_is_rejected():
    assert max_t(np.array([1e-9, 0.5]), np.full((10, 2), np.nan)).tolist() == [1.0, 1.0]


def test_a_test_that_never_varies_has_no_part_in_chance():
    replicates = drawn(2, resamples=999)
    replicates[:, 1] = 0.3
    found = max_t(np.array([0.03, 1.0]), replicates)
    assert found[0] == pytest.approx(0.03, abs=0.015) and found[1] == 1.0


def test_max_t_keeps_the_level_when_no_test_has_a_difference():
    generator, false = np.random.default_rng(1), 0
    mixed = np.linalg.cholesky(0.6 * np.ones((6, 6)) + 0.4 * np.eye(6))
    for _ in range(400):
        replicates = generator.normal(size=(300, 6)) @ mixed.T
        p = 2 * norm.sf(np.abs(mixed @ generator.normal(size=6)))
        false += max_t(p, replicates).min() <= 0.05
    assert 0.02 < false / 400 < 0.09
