"""The comparison over folds: by hand, by its properties, and how often it claims a difference that is not there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from headwater.evaluation.statistics import folds

LEVEL = 0.05


def test_five_folds_by_hand():
    values = np.array([[0.80], [0.82], [0.85], [0.79], [0.84]])
    found = folds.of_difference(values, np.full((5, 1), 0.8), patients=np.full(5, 20))
    apart = values[:, 0] - 0.8
    assert folds.enlarged(np.full(5, 20)) == pytest.approx(1 / 5 + 1 / 4)
    assert folds.enlarged(np.full(5, 20), fraction=0.5) == pytest.approx(1 / 5 + 20 / 40)
    assert found.value == pytest.approx(0.02) and found.degrees_of_freedom == 4
    t = 0.02 / np.sqrt(apart.var(ddof=1) * 0.45)
    assert found.p() == pytest.approx(2 * stats.t.sf(t, 4))
    # the plain test over folds is the same without what the trainings share
    plain = stats.ttest_1samp(apart, 0)
    assert plain.statistic == pytest.approx(t * np.sqrt(0.45 * 5)) and plain.pvalue < found.p()


VALUES = st.integers(2, 10).flatmap(
    lambda k: st.tuples(
        *[arrays.arrays(float, (k, 3), elements=st.floats(0, 1, width=16))] * 2,
        arrays.arrays(np.int64, k, elements=st.integers(1, 50)),
    )
)


@given(made=VALUES, shift=st.floats(-1, 1, width=16), order=st.randoms(use_true_random=False))
def test_sources_mirror_folds_and_seeds_may_be_permuted_and_a_shift_shifts(made, shift, order):
    values, others, patients = made
    found = folds.of_difference(values, others, patients=patients)
    back = folds.of_difference(others, values, patients=patients)
    assert (back.value, back.variance) == pytest.approx((-found.value, found.variance), abs=1e-12)
    mixed = list(range(len(values)))
    order.shuffle(mixed)
    again = folds.of_difference(values[mixed][:, ::-1], others[mixed], patients=patients[mixed])
    assert (again.value, again.variance) == pytest.approx((found.value, found.variance), abs=1e-12)
    moved = folds.of_difference(values + shift, others, patients=patients)
    assert (moved.value, moved.variance) == pytest.approx((found.value + shift, found.variance), abs=1e-6)
    low, high = found.interval(LEVEL)
    if found.variance > 0:
        assert low < found.value < high and (found.p() <= LEVEL) == (not low < 0 < high)


@given(made=VALUES)
def test_it_is_never_more_certain_than_the_plain_test(made):
    values, others, patients = made
    found = folds.of_difference(values, others, patients=patients)
    of_folds = (values - others).mean(axis=1)
    assert found.variance >= of_folds.var(ddof=1) / len(of_folds)


def test_equal_sources_do_not_differ_and_what_is_undefined_stays_so():
    values = np.random.default_rng(0).random((5, 3))
    same = folds.of_difference(values, values, patients=np.full(5, 9))
    assert (same.value, same.variance, same.p()) == (0.0, 0.0, 1.0)
    assert np.isnan(folds.of_source(values[:1], patients=np.array([9])).variance)
    values[2] = np.nan
    assert np.isnan(folds.of_source(values, patients=np.full(5, 9)).p())
    with pytest.raises(ValueError, match="5 folds need as many numbers of patients"):
        folds.of_source(values, patients=np.full(4, 9))


# learners whose trainings overlap


def learned(
    draw: np.random.Generator, *, patients: int, k: int, seeds: int, features: int = 8, gain: float = 0.0
) -> list[np.ndarray]:
    """The values of two sources (k, seeds): a ridge regression on features of each, tested fold by fold.

    Both sources see a number through noisy features of their own, equally well without `gain`; a case's value is
    1 / (1 + error), bounded and skew as Dice is. A seed draws which tenth of the training patients is left out. The
    more features there are beside patients, the more a network depends on whom it learned from.
    """
    real = draw.gamma(2.0, 1.0, patients)
    fold = draw.permutation(patients) % k
    sources = []
    for more in (gain, 0.0):
        seen = real[:, None] * (1 + more) + draw.laplace(0, 2.0, (patients, features))
        values = np.empty((k, seeds))
        for at in range(k):
            for seed in range(seeds):
                chosen = np.flatnonzero((fold != at) & (draw.random(patients) > 0.1))
                centre, level = seen[chosen].mean(axis=0), real[chosen].mean()
                of_chosen = seen[chosen] - centre
                weights = np.linalg.solve(
                    of_chosen.T @ of_chosen + np.eye(features), of_chosen.T @ (real[chosen] - level)
                )
                error = abs(level + (seen[fold == at] - centre) @ weights - real[fold == at])
                values[at, seed] = (1 / (1 + error)).mean()
        sources.append(values)
    return sources


def claims(grids: int, *, patients: int, k: int, features: int, seeds: int = 3) -> tuple[float, float, float]:
    """(type-I error, coverage, the plain t-test's type-I error) over null grids; two equal sources differ by 0."""
    rejected, covered, plain = 0, 0, 0
    for grid in range(grids):
        one, other = learned(np.random.default_rng([7, grid]), patients=patients, k=k, seeds=seeds, features=features)
        found = folds.of_difference(one, other, patients=np.full(k, patients / k))
        low, high = found.interval(LEVEL)
        rejected += found.p() <= LEVEL
        covered += low <= 0 <= high
        plain += stats.ttest_rel(one.mean(axis=1), other.mean(axis=1)).pvalue <= LEVEL
    return rejected / grids, covered / grids, plain / grids


@pytest.mark.parametrize("grids", [100, pytest.param(1000, marks=pytest.mark.soak)])
def test_equal_sources_are_rarely_told_apart_over_folds(grids):
    """Conservative where networks hardly depend on whom they learned from: 1.8 % of 1,000 grids, 5.9 % by plain t."""
    error, coverage, plain = claims(grids, patients=60, k=5, features=8)
    high = stats.binom.ppf(0.999, grids, LEVEL) / grids
    assert error <= min(plain, high) and coverage >= 1 - high


@pytest.mark.parametrize("grids", [60, pytest.param(1000, marks=pytest.mark.soak)])
def test_overlapping_trainings_mislead_the_plain_test_far_more(grids):
    """Where networks depend on their patients above all it is not enough: 10 % of 1,000 grids, 25 % by plain t."""
    error, _, plain = claims(grids, patients=60, k=5, features=40)
    assert error < 0.75 * plain


def test_a_source_that_is_better_is_found_over_folds():
    found = []
    for grid in range(20):
        one, other = learned(np.random.default_rng([8, grid]), patients=100, k=5, seeds=1, gain=1.5)
        found.append(folds.of_difference(one, other, patients=np.full(5, 20)).p() <= LEVEL)
    assert np.mean(found) > 0.5
