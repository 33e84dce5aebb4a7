import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from headwater.evaluation.statistics import readers

# Van Dyke et al. 1993, MRI for aortic dissection, two techniques, 5 readers, 114 patients. Values as printed in
# D. P. Chakraborty, The RJafroc Book, chapter "Obuchowski Rockette Applications", dataset02, empirical AUC, jackknife
# covariances: https://dpc10ster.github.io/RJafrocBook/or-applications.html
# 45 patients with a dissection, 69 without: each area is a whole number of half pairs; its digits tell it whole
HALF_PAIRS = 2 * 45 * 69
SPIN_ECHO = np.round(np.array([0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066]) * HALF_PAIRS) / HALF_PAIRS
CINE = np.round(np.array([0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169]) * HALF_PAIRS) / HALF_PAIRS
VAR, COV1, COV2, COV3 = 0.00080228827, 0.00034661371, 0.00034407483, 0.00023902837


def crossed(*, var: float, cov1: float, cov2: float, cov3: float, readers: int) -> np.ndarray:
    """The covariance matrix that Obuchowski and Rockette's model has for two modalities."""
    same = np.full((readers, readers), cov2) + (var - cov2) * np.eye(readers)
    across = np.full((readers, readers), cov3) + (cov1 - cov3) * np.eye(readers)
    return np.block([[same, across], [across, same]])


def test_the_published_example_of_five_readers():
    covariance = crossed(var=VAR, cov1=COV1, cov2=COV2, cov3=COV3, readers=5)
    found = readers.of_difference(SPIN_ECHO, CINE, covariance, paired=True)
    assert found.value == pytest.approx(-0.043800322, abs=5e-10)
    assert found.degrees_of_freedom == pytest.approx(15.259675, abs=5e-7)
    assert (found.value / found.standard_error) ** 2 == pytest.approx(4.4563187, abs=5e-8)
    assert found.p() == pytest.approx(0.051665686, abs=5e-10)
    assert found.interval(0.05) == pytest.approx((-0.087959499, 0.00035885444), abs=5e-10)


@pytest.mark.parametrize(
    ("values", "var", "cov2", "mean", "interval"),
    [
        (SPIN_ECHO, 0.00101410277, 0.00048396180, 0.89703704, (0.82522360, 0.96885048)),
        (CINE, 0.00059047376, 0.00020418785, 0.94083736, (0.89413783, 0.98753689)),
    ],
)
def test_the_published_intervals_of_each_modality(values, var, cov2, mean, interval):
    covariance = np.full((5, 5), cov2) + (var - cov2) * np.eye(5)
    found = readers.of_source(values, covariance)
    assert found.value == pytest.approx(mean, abs=5e-9)
    assert found.interval(0.05) == pytest.approx(interval, abs=5e-9)


def test_nested_seeds_without_patients_are_welch():
    draw = np.random.default_rng(0)
    one, other = draw.normal(size=(2, 6))
    found = readers.of_difference(one, other, np.zeros((12, 12)), paired=False)
    peer = stats.ttest_ind(one, other, equal_var=False)
    assert (found.p(), found.degrees_of_freedom) == pytest.approx((peer.pvalue, peer.df))
    assert found.interval(0.05) == pytest.approx(tuple(peer.confidence_interval()))


def test_paired_seeds_without_patients_are_the_paired_t():
    draw = np.random.default_rng(1)
    one, other = draw.normal(size=(2, 6))
    found = readers.of_difference(one, other, np.zeros((12, 12)), paired=True)
    peer = stats.ttest_rel(one, other)
    assert (found.p(), found.degrees_of_freedom) == pytest.approx((peer.pvalue, 5))
    assert found.interval(0.05) == pytest.approx(tuple(peer.confidence_interval()))


def test_one_seed_leaves_the_patients_alone():
    covariance = np.array([[4.0, 1.0], [1.0, 2.0]])
    found = readers.of_difference(np.array([3.0]), np.array([1.0]), covariance, paired=True)
    assert (found.value, found.variance, found.degrees_of_freedom) == (2.0, 4.0, np.inf)
    assert found.p() == pytest.approx(2 * stats.norm.sf(1.0))


def test_two_paired_seeds_are_analysed_as_nested():
    one, other = np.array([0.8, 0.82]), np.array([0.7, 0.71])
    covariance = crossed(var=4e-4, cov1=2e-4, cov2=2e-4, cov3=1e-4, readers=2)
    paired, nested = (readers.of_difference(one, other, covariance, paired=way) for way in (True, False))
    assert paired == nested


def test_a_negative_share_of_the_patients_counts_as_none():
    one, other = np.array([0.8, 0.82, 0.81]), np.array([0.7, 0.71, 0.73])
    covariance = crossed(var=4e-4, cov1=1e-4, cov2=1e-4, cov3=1.2e-4, readers=3)
    bare = readers.of_difference(one, other, np.zeros((6, 6)), paired=False)
    assert readers.of_difference(one, other, covariance, paired=False).variance == bare.variance


def test_agreeing_seeds_are_no_more_certain_than_these_trainings_as_they_are():
    same, other = np.array([0.80, 0.80001]), np.array([0.70, 0.70001])
    covariance = crossed(var=4e-4, cov1=1e-4, cov2=-3e-4, cov3=-3e-4, readers=2)
    for found in (
        readers.of_difference(same, other, covariance, paired=False, patients=60),
        readers.of_source(same, covariance[:2, :2], patients=60),
    ):
        assert found.variance < 1e-9 < found.as_they_are.variance
        assert found.standard_error == found.as_they_are.standard_error
        assert found.interval(0.05) == found.as_they_are.interval(0.05)
        near = found.above(found.value - 0.01)
        assert near.p() == near.as_they_are.p() > 0.1 and near.mirrored().p() == near.p()
        assert near.mirrored().value == -near.value == pytest.approx(-0.01)
    wide = readers.of_source(np.array([0.6, 0.9]), covariance[:2, :2], patients=60)
    assert wide.p() > wide.as_they_are.p() and wide.standard_error**2 == pytest.approx(wide.variance)


def test_identical_models_do_not_differ():
    same = np.array([0.8, 0.81, 0.82])
    found = readers.of_difference(same, same, np.tile(np.full((3, 3), 1e-4), (2, 2)), paired=True)
    assert (found.value, found.variance, found.p()) == (0.0, 0.0, 1.0)


def test_a_difference_without_any_variance_has_no_p():
    found = readers.Estimate(0.5, 0.0, np.inf)
    assert np.isnan(found.p()) and np.isnan(found.p_above(0.0)) and found.interval(0.05) == (0.5, 0.5)
    assert np.isnan(readers.UNKNOWN.p()) and np.isnan(readers.UNKNOWN.interval(0.05)).all()


@settings(deadline=None)
@given(
    seeds=st.integers(2, 8),
    numbers=st.integers(0, 2**32),
    paired=st.booleans(),
)
def test_swapping_sources_mirrors_and_permuting_seeds_changes_nothing(seeds, numbers, paired):
    draw = np.random.default_rng(numbers)
    one, other = draw.normal(size=(2, seeds))
    root = draw.normal(size=(2 * seeds, 2 * seeds))
    covariance = root @ root.T
    found = readers.of_difference(one, other, covariance, paired=paired)
    swap = np.r_[seeds : 2 * seeds, :seeds]
    mirrored = readers.of_difference(other, one, covariance[np.ix_(swap, swap)], paired=paired)
    assert (mirrored.value, mirrored.variance) == pytest.approx((-found.value, found.variance))
    mix = draw.permutation(seeds)
    both = np.concatenate([mix, seeds + mix])
    again = readers.of_difference(one[mix], other[mix], covariance[np.ix_(both, both)], paired=paired)
    assert (again.value, again.variance, again.degrees_of_freedom) == pytest.approx(
        (found.value, found.variance, found.degrees_of_freedom)
    )


def test_intervals_inside_bounds_stay_there_and_agree_where_there_is_room():
    high = readers.Estimate(0.99, 4e-4, 8.0)
    assert high.interval(0.05)[1] > 1 > high.interval_inside(0.05, bounds=(0.0, 1.0))[1] > 0.99
    middle = readers.Estimate(0.5, 1e-8, 20.0)
    assert middle.interval_inside(0.05, bounds=(0.0, 1.0)) == pytest.approx(middle.interval(0.05), abs=1e-9)
    assert readers.Estimate(3.0, 1.0, 9.0).interval_inside(0.05, bounds=(0.0, np.inf))[0] < 1
    assert readers.Estimate(1.0, 0.0, 9.0).interval_inside(0.05, bounds=(0.0, 1.0)) == (1.0, 1.0)


def test_caution_takes_degrees_of_freedom_only():
    found = readers.Estimate(0.1, 4e-4, 40.0)
    assert found.cautious(9).degrees_of_freedom == 9 and found.cautious(90) == found
    assert found.cautious(9).p() > found.p()


def test_margins_are_judged_from_one_side():
    found = readers.Estimate(0.0, 1e-4, np.inf)
    assert found.p_above(-0.02) == pytest.approx(stats.norm.sf(2)) and found.p_above(0.0) == 0.5


def test_a_replicate_without_one_run_is_dropped_for_all():
    draw = np.random.default_rng(2)
    replicates = draw.normal(size=(3, 50))
    replicates[1, 7] = np.nan
    kept = np.delete(replicates, 7, axis=1)
    assert readers.covariance(replicates) == pytest.approx(np.cov(kept), rel=1e-12)
    assert np.isnan(readers.covariance(np.full((2, 50), np.nan))).all()


def test_few_patients_take_degrees_of_freedom_and_stretch_the_resample():
    one, other = np.array([0.80, 0.82, 0.85]), np.array([0.78, 0.80, 0.81])
    covariance = crossed(var=4e-4, cov1=1e-4, cov2=2e-4, cov3=1e-4, readers=3)
    endless, few = (readers.of_difference(one, other, covariance, paired=False, patients=n) for n in (np.inf, 12))
    of_seeds = [one.var(ddof=1) / 3, other.var(ddof=1) / 3]
    noise = sum(part**2 / 2 for part in of_seeds) + 2e-4**2 / 11
    assert few.variance == endless.variance == pytest.approx(sum(of_seeds) + 2e-4)
    assert few.degrees_of_freedom < endless.degrees_of_freedom
    assert few.degrees_of_freedom == pytest.approx(few.variance**2 / noise)
    alone = readers.of_source(one[:1], covariance[:1, :1], patients=12)
    assert alone.degrees_of_freedom == pytest.approx(11)
    draw = np.random.default_rng(3).normal(size=(2, 50))
    assert readers.covariance(draw, patients=12) == pytest.approx(np.cov(draw) * 12 / 11)


def test_effects():
    one, other = np.array([0.80, 0.82, 0.84]), np.array([0.78, 0.80, 0.82])
    assert readers.standardised(one, other) == pytest.approx(1.0)
    assert readers.superiority(one, other) == pytest.approx((6 + 0.5 * 2) / 9)
    assert np.isnan(readers.standardised(one[:1], other[:1])) and np.isnan(readers.standardised(one * 0, other * 0))
