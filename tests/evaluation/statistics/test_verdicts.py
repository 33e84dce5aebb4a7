import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc, roc_auc_score

from headwater.evaluation.statistics import corrections, curves, intervals, significance


def test_the_interval_leaves_out_half_the_level_on_either_side():
    assert intervals.percentile(np.arange(1001.0), level=0.05) == (25.0, 975.0)


def test_undefined_replicates_are_dropped_and_none_at_all_gives_no_interval():
    replicates = np.concatenate([np.arange(1001.0), [np.nan] * 500])
    assert intervals.percentile(replicates, level=0.05) == (25.0, 975.0)
    assert np.isnan(intervals.percentile(np.full(3, np.nan), level=0.05)).all()
    assert np.isnan(intervals.percentile(np.array([]), level=0.05)).all()


def test_p_counts_the_rarer_side_of_zero_and_the_data_once():
    replicates = np.array([-1.0] * 4 + [1.0] * 95)
    assert significance.two_sided(replicates, observed=0.9) == pytest.approx(2 * 5 / 100)
    assert significance.two_sided(-replicates, observed=-0.9) == pytest.approx(2 * 5 / 100)


def test_p_is_never_smaller_than_the_replicates_can_tell():
    assert significance.two_sided(np.ones(999), observed=1.0) == significance.smallest(999) == 0.002


def test_a_replicate_of_zero_counts_for_no_difference():
    assert significance.two_sided(np.array([0.0] * 10 + [1.0] * 89), observed=0.9) == pytest.approx(2 * 11 / 100)


def test_no_difference_at_all_is_no_evidence_at_all():
    assert significance.two_sided(np.zeros(99), observed=0.0) == 1.0
    assert significance.two_sided(np.linspace(-1, 0.5, 99), observed=0.0) == 1.0


def test_p_is_undefined_without_a_defined_replicate():
    assert np.isnan(significance.two_sided(np.full(9, np.nan), observed=0.1))
    assert np.isnan(significance.two_sided(np.ones(9), observed=np.nan))


def test_holm_by_hand():
    # sorted .005 x 4, .01 x 3, .03 x 2, .04 x 1, then never falling
    assert corrections.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_benjamini_hochberg_by_hand():
    # sorted .005 x 4 / 1, .01 x 4 / 2, .03 x 4 / 3, .04 x 4 / 4, then never rising from the end
    assert corrections.benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_what_was_not_tested_does_not_count_for_the_family():
    adjusted = corrections.holm([0.01, np.nan, 0.04])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.04]) and np.isnan(adjusted[1])
    assert np.isnan(corrections.benjamini_hochberg([np.nan])).all() and corrections.holm([]).size == 0


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4]), min_size=3, max_size=60))
def test_a_short_roc_curve_is_kept_whole(scores):
    target = np.tile([1.0, 0.0, 0.0], len(scores))[: len(scores)]
    false, true = curves.roc(target, np.array(scores, float))
    assert auc(false, true) == pytest.approx(roc_auc_score(target, scores), abs=1e-12)


def test_a_long_roc_curve_is_thinned_and_still_rises():
    draw = np.random.default_rng(0)
    target = (draw.random(20_000) < 0.02).astype(float)
    score = target + draw.normal(size=20_000)
    false, true = curves.roc(target, score)
    assert len(false) <= 200 and (np.diff(false) >= 0).all() and (np.diff(true) >= 0).all()
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert auc(false, true) == pytest.approx(roc_auc_score(target, score), abs=0.005)
