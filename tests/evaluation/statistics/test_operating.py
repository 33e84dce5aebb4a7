"""Thresholds against brute force and scikit-learn, rates against counts."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from headwater.evaluation.statistics import operating

# few heights, so that many cases share one
CASES = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=40)


def arrays(cases) -> tuple[np.ndarray, np.ndarray]:
    target, score = zip(*cases, strict=True)
    return np.array(target, float), np.array(score, float)


@given(cases=CASES, specificity=st.sampled_from([0.05, 0.25, 0.5, 0.75, 0.9, 0.99]))
def test_the_threshold_is_the_least_that_passes_over_enough(cases, specificity):
    target, score = arrays(cases)
    assume(0 < target.sum() < len(target))
    found = operating.threshold(target, score, specificity=specificity)
    without = score[target == 0]
    candidates = [*sorted(set(score)), np.nextafter(score.max(), np.inf)]
    enough = [height for height in candidates if np.mean(without < height) >= specificity - 1e-9]
    assert found == enough[0]
    assert np.mean(without < found) >= specificity - 1e-9
    lower = [height for height in candidates if height < found]
    assert all(np.mean(without < height) < specificity for height in lower)


@given(cases=CASES, height=st.integers(-4, 4))
def test_rates_are_those_of_the_table_of_four(cases, height):
    target, score = arrays(cases)
    told = operating.correctness(target, score, threshold=height)
    (tn, fp), (fn, tp) = confusion_matrix(target == 1, score >= height, labels=[False, True])
    for name, above, below in (
        ("sensitivity", tp, tp + fn),
        ("specificity", tn, tn + fp),
        ("ppv", tp, tp + fp),
        ("npv", tn, tn + fn),
    ):
        assert np.nansum(told[name]) == above and np.count_nonzero(~np.isnan(told[name])) == below


def test_nine_of_ten_are_nine_of_ten_whatever_the_binary_fraction_says():
    target, score = np.array([0.0] * 30 + [1.0]), np.append(np.arange(30.0), 50.0)
    assert operating.threshold(target, score, specificity=0.9) == 27


@pytest.mark.parametrize("target", [np.zeros(3), np.ones(3)])
def test_without_both_classes_there_is_no_threshold(target):
    assert np.isnan(operating.threshold(target, np.arange(3.0), specificity=0.9))
