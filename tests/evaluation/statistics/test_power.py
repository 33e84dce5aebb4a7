from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

import segmented_made
from headwater.evaluation.statistics import delong, power, readers
from headwater.evaluation.statistics.power import Assumed, AssumedDice, Expected

PLAIN = Assumed(patient_share=0.0)


def counts(targets: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each patient's positive and negative cases: both (labels, patients)."""
    return tuple(
        np.array([np.bincount(patients[row == value], minlength=patients.max() + 1) for row in targets])
        for value in (1, 0)
    )


def test_set(*, labels: int = 1, patients: int = 120, most: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets (labels, cases) and patients; a patient's cases are alike."""
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), random.integers(1, most + 1, patients))
    alike = random.normal(size=(labels, patients))[:, patient]
    return ((alike + random.normal(size=alike.shape)) / np.sqrt(2) > 0.7).astype(float), patient


test_set.__test__ = False


def scored(
    targets: np.ndarray, patients: np.ndarray, shifts: np.ndarray, *, assumed: Assumed, random: np.random.Generator
) -> np.ndarray:
    """Binormal scores of two sources with S seeds each, `shifts` (2, S) apart: (2 S, labels, cases)."""
    sources, seeds = shifts.shape
    labels, cases = targets.shape

    def noise(*shape: int) -> np.ndarray:
        of_patient = random.normal(size=(*shape, 1, patients.max() + 1))[..., patients]
        own = random.normal(size=(*shape, labels, cases))
        return np.sqrt(assumed.patient_share) * of_patient + np.sqrt(1 - assumed.patient_share) * own

    between, within = assumed.correlation, assumed.seed_correlation
    scores = np.sqrt(between) * noise(1, 1) + np.sqrt(within - between) * noise(sources, 1)
    scores = scores + np.sqrt(1 - within) * noise(sources, seeds) + shifts[:, :, None, None] * targets
    return scores.reshape(sources * seeds, labels, cases)


def shift(auroc: float) -> float:
    """How far the classes lie apart, in standard deviations of either."""
    return np.sqrt(2) * stats.norm.ppf(auroc)


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_expected_covariance_is_that_of_simulated_scores(labels: int, share: float):
    assumed = Assumed(patient_share=share)
    targets, patients = test_set(labels=labels, patients=400)
    weights = power.together(*counts(targets, patients))
    random = np.random.default_rng(1)
    covariances = []
    for _ in range(300):
        scores = scored(targets, patients, np.full((2, 2), shift(0.8)), assumed=assumed, random=random)
        covariances.append(delong.mean_areas(targets, scores, patients=patients)[1])
    found = np.mean(covariances, axis=0)
    expected = [power.covariance(weights, correlation, assumed=assumed) for correlation in (1.0, 0.8, 0.6)]
    seeds, sources = (found[0, 1] + found[2, 3]) / 2, found[:2, 2:].mean()
    assert [found.diagonal().mean(), seeds, sources] == pytest.approx(expected, rel=0.04)


def test_the_covariance_is_that_of_areas_measured_again_and_again():
    assumed = Assumed()
    targets, patients = test_set(patients=150)
    weights = power.together(*counts(targets, patients))
    random = np.random.default_rng(2)
    areas = []
    for _ in range(1500):
        scores = scored(targets, patients, np.full((2, 1), shift(0.8)), assumed=assumed, random=random)
        areas.append(delong.areas(targets[0], scores[:, 0], patients=patients)[0])
    found = np.cov(np.transpose(areas))
    assert np.mean(areas) == pytest.approx(0.8, abs=0.01)
    assert found.diagonal().mean() == pytest.approx(power.covariance(weights, 1.0, assumed=assumed), rel=0.08)
    assert found[0, 1] == pytest.approx(power.covariance(weights, 0.6, assumed=assumed), rel=0.12)


@settings(deadline=None)
@given(st.floats(0.55, 0.99), st.floats(0, 1))
def test_independent_cases_have_the_variance_of_a_bivariate_normal(auroc: float, correlation: float):
    weights = power.together(np.array([[1] * 20 + [0] * 80]), np.array([[0] * 20 + [1] * 80]))
    threshold = [stats.norm.ppf(auroc)] * 2
    both = stats.multivariate_normal.cdf(threshold, cov=[[1, correlation / 2], [correlation / 2, 1]])
    found = power.covariance(weights, correlation, assumed=PLAIN.model_copy(update={"auroc": auroc}))
    assert found == pytest.approx((both - auroc**2) * (1 / 20 + 1 / 80), abs=1e-7)


def test_cases_of_a_patient_count_for_less_the_more_they_are_alike():
    targets, patients = test_set(patients=100, most=8)
    weights = power.together(*counts(targets, patients))
    shares = (0.0, 0.2, 0.5, 0.9)
    variances = [power.covariance(weights, 1.0, assumed=Assumed(patient_share=share)) for share in shares]
    assert variances == sorted(variances) and variances[3] > 1.5 * variances[0]


@pytest.mark.parametrize(
    ("seeds", "paired", "patients_of_class"), [*product([2, 3, 5, 10], [True, False], [15, np.inf])]
)
def test_the_estimate_is_that_of_seeds_as_readers(seeds: int, paired: bool, patients_of_class: float):
    targets, patients = test_set()
    weights = power.together(*counts(targets, patients))
    run, seed, source = (power.covariance(weights, correlation, assumed=Assumed()) for correlation in (1, 0.8, 0.6))
    within = np.where(np.eye(seeds, dtype=bool), run, seed)
    matrix = np.block([[within, np.full_like(within, source)], [np.full_like(within, source), within]])
    # values whose sample variances, and that of their differences, are what is expected
    spread = np.sqrt(0.02**2 + run - seed)
    basis = np.linalg.qr(np.column_stack([np.ones(seeds), np.random.default_rng(0).normal(size=(seeds, 2))]))[0]
    one, other = basis[:, 1] * np.sqrt(seeds - 1) * spread, basis[:, -1] * np.sqrt(seeds - 1) * spread
    usual = {"seed_spread": 0.02, "assumed": Assumed(), "patients": patients_of_class}
    found = power.expected(weights, seeds=seeds, paired=paired, **usual).estimate
    if seeds == 2:  # two values leave one direction only
        one, other = np.array([-1, 1]) * spread / np.sqrt(2), np.array([1, -1]) * spread / np.sqrt(2)
    expected = readers.of_difference(one, other, matrix, paired=paired, patients=patients_of_class)
    assert found.variance == pytest.approx(expected.variance, rel=1e-9)
    assert found.degrees_of_freedom == pytest.approx(expected.degrees_of_freedom, rel=1e-9)


def test_one_seed_says_nothing_of_training():
    weights = power.together(*counts(*test_set()))
    one, other = (
        power.expected(weights, seeds=1, seed_spread=spread, paired=True, assumed=Assumed()) for spread in (0, 0.1)
    )
    assert one == other and one.estimate.degrees_of_freedom == np.inf


LEVELS = st.sampled_from([0.05, 0.05 / 8, 0.05 / 42])


@settings(deadline=None)
@given(
    st.lists(st.floats(1e-6, 1e-2), min_size=1, max_size=2),
    st.floats(0, 1e-2),
    st.integers(2, 20),
    st.sampled_from([12, 100, np.inf]),
    st.floats(0.55, 0.99),
    LEVELS,
)
def test_the_least_detectable_difference_is_found_as_often_as_asked(
    of_seeds: list[float], of_patients: float, seeds: int, patients: float, wanted: float, level: float
):
    planned = Expected(of_seeds=tuple(of_seeds), of_patients=of_patients, seeds=seeds, patients=patients)
    difference = power.least_detectable(planned, level=level, power=wanted)
    assert power.found(difference, planned=planned, level=level) == pytest.approx(wanted, abs=1e-6)
    assert power.found(0.9 * difference, planned=planned, level=level) < wanted


@settings(deadline=None)
@given(st.integers(3, 30), st.floats(0.5, 30), LEVELS)
def test_seeds_alone_are_the_noncentral_t(seeds: int, far: float, level: float):
    planned = Expected(of_seeds=(0.01**2,), of_patients=0.0, seeds=seeds, patients=np.inf)
    bound = stats.t.isf(level / 2, seeds - 1)
    expected = stats.nct.sf(bound, seeds - 1, far) + stats.nct.sf(bound, seeds - 1, -far)
    assert power.found(0.01 * far, planned=planned, level=level) == pytest.approx(expected, abs=1e-3)


def test_known_variances_are_the_formula_of_textbooks():
    planned = Expected(of_seeds=(), of_patients=0.01**2, seeds=1, patients=np.inf)
    expected = 0.01 * (stats.norm.isf(0.025) + stats.norm.ppf(0.8))
    assert power.least_detectable(planned, level=0.05, power=0.8) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("of_seeds", [(1.0, 1.0), (0.2, 0.2), (2.0,)])
def test_estimated_variances_are_those_of_chance(of_seeds: tuple[float, ...]):
    """The same t-test on variances drawn at random."""
    random, draws, far = np.random.default_rng(0), 40_000, 5.0
    planned = Expected(of_seeds=of_seeds, of_patients=1.0, seeds=3, patients=30)
    estimated = [part * random.chisquare(2, draws) / 2 for part in of_seeds]
    shared = random.chisquare(29, draws) / 29
    variance = sum(estimated) + shared
    df = variance**2 / (sum(part**2 for part in estimated) / 2 + shared**2 / 29)
    difference = far + np.sqrt(sum(of_seeds) + 1) * random.normal(size=draws)
    share = (np.abs(difference) > stats.t.isf(0.025, df) * np.sqrt(variance)).mean()
    assert power.found(far, planned=planned, level=0.05) == pytest.approx(share, abs=0.01)


def test_few_patients_bound_the_degrees_of_freedom():
    free, bound = (
        Expected(of_seeds=(1.0,), of_patients=1.0, seeds=10, patients=np.inf, most=most) for most in (np.inf, 3)
    )
    wanted = {"level": 0.05, "power": 0.8}
    assert bound.estimate.degrees_of_freedom == 3
    assert power.least_detectable(bound, **wanted) > 1.2 * power.least_detectable(free, **wanted)


def test_less_than_one_degree_of_freedom_detects_nothing():
    planned = Expected(of_seeds=(1.0,), of_patients=1.0, seeds=3, patients=1, most=0)
    assert power.least_detectable(planned, level=0.05, power=0.8) == np.inf


@pytest.mark.parametrize(
    ("fewer", "more"),
    [
        ({"seeds": 3}, {"seeds": 5}),
        ({"seeds": 5}, {"seeds": 10}),
        ({"seed_spread": 0.02}, {"seed_spread": 0.006}),
        ({"paired": True}, {"paired": False}),
        ({"assumed": Assumed(correlation=0.3)}, {"assumed": Assumed(correlation=0.7)}),
        ({"assumed": Assumed(auroc=0.7)}, {"assumed": Assumed(auroc=0.9)}),
    ],
)
def test_what_makes_a_smaller_difference_detectable(fewer: dict, more: dict):
    weights = power.together(*counts(*test_set()))
    usual = {"seeds": 5, "seed_spread": 0.01, "paired": True, "assumed": Assumed()}
    large, small = (
        power.least_detectable(power.expected(weights, **usual | changed), level=0.05, power=0.8)
        for changed in (fewer, more)
    )
    assert small < large


@pytest.mark.parametrize(("seeds", "paired"), [(2, True), (3, False), (5, True)])
def test_a_difference_of_that_size_is_found_as_often_as_promised(seeds: int, paired: bool):
    """Whole studies with the least detectable difference, analysed as `compare` does: patients, seeds and findings."""
    assumed, spread, studies = Assumed(), 0.01, 500
    targets, patients = test_set(labels=2, patients=100, most=3)
    positives, negatives = counts(targets, patients)
    smaller = min((part > 0).any(axis=0).sum() for part in (positives, negatives))
    usual = {"paired": paired, "patients": smaller}
    weights = power.together(positives, negatives)
    planned = power.expected(weights, seeds=seeds, seed_spread=spread, assumed=assumed, **usual)
    difference = power.least_detectable(planned, level=0.05, power=0.8)
    random = np.random.default_rng(seeds)
    rejected = 0
    for _ in range(studies):
        middle = np.array([[assumed.auroc + difference / 2], [assumed.auroc - difference / 2]])
        shifts = shift(middle + spread * random.normal(size=(2, seeds)))
        scores = scored(targets, patients, shifts, assumed=assumed, random=random)
        area, matrix = delong.mean_areas(targets, scores, patients=patients)
        rejected += readers.of_difference(area[:seeds], area[seeds:], matrix, **usual).p() < 0.05
    assert rejected / studies == pytest.approx(0.8, abs=0.06)  # three standard errors of 500 studies: 0.054


@pytest.mark.parametrize("wrong", [{"auroc": 0.5}, {"correlation": 0.9}, {"power": 1.0}, {"patient_share": -0.1}])
def test_what_cannot_be_assumed(wrong: dict):
    with pytest.raises(ValidationError):
        Assumed(**wrong)


# Dice, on cases of another kind than the formula assumes: Beta-distributed, and 0 where a structure is missed


def _means(draw: np.random.Generator, *, participants: int, levels: tuple[float, float], seeds: int) -> np.ndarray:
    """The Dice of every case by two sources of so many seeds each: (2 S, cases), two knees a participant."""
    made = segmented_made.knees(draw, participants=participants)
    factors = segmented_made.trainings(draw, seeds=seeds, sources=2, spread=0.1, paired=False)
    pairs = zip(levels, factors, strict=True)
    return np.concatenate([segmented_made.dice(draw, made, level=at, factors=each)[:, 0] for at, each in pairs])


SEED_SPREAD = 0.1 * (1 - segmented_made.expected(1.0, missed=0.0)) * (1 - 0.05)
"""What a training's factor makes of the mean Dice: the structures that are missed do not change with it."""


def _as_generated() -> AssumedDice:
    """What should have been assumed of that generator, from very many cases."""
    draw = np.random.default_rng(0)
    made = segmented_made.knees(draw, participants=40_000)
    one, other = (segmented_made.dice(draw, made, level=1.0, factors=np.ones(2))[:, 0] for _ in range(2))
    first, second = one[0].reshape(-1, 2).T
    return AssumedDice(
        dice=one.mean(),
        case_spread=one.std(),
        correlation=np.corrcoef(one[0], other[0])[0, 1],
        seed_correlation=np.corrcoef(*one)[0, 1],
        patient_share=np.corrcoef(first, second)[0, 1],
    )


def test_the_variance_of_a_difference_in_dice_is_that_of_cases_drawn_again_and_again():
    draw, seeds, participants = np.random.default_rng(1), 3, 60
    weights = power.together_of_means(np.full((1, participants), 2))
    planned = power.expected(weights, seeds=seeds, seed_spread=SEED_SPREAD, paired=False, assumed=_as_generated())
    drawn = [_means(draw, participants=participants, levels=(1.0, 1.0), seeds=seeds).mean(axis=1) for _ in range(2000)]
    found = np.var([each[:seeds].mean() - each[seeds:].mean() for each in drawn])
    # the standard error of a variance of 2,000 numbers is 3 %
    assert found == pytest.approx(planned.estimate.variance, rel=0.1)


def test_a_difference_in_dice_of_that_size_is_found_as_often_as_promised():
    draw, seeds, participants, studies = np.random.default_rng(2), 3, 60, 500
    weights = power.together_of_means(np.full((1, participants), 2))
    how = {"seeds": seeds, "seed_spread": SEED_SPREAD, "paired": False, "patients": participants}
    planned = power.expected(weights, assumed=_as_generated(), **how)
    least = power.least_detectable(planned, level=0.05, power=0.8)
    # by how much a level of 1 must change for that difference in what is expected
    change = least / (segmented_made.expected(0.0, missed=0.05) - segmented_made.expected(1.0, missed=0.05))
    rejected = 0
    for _ in range(studies):
        dice = _means(draw, participants=participants, levels=(1 - change / 2, 1 + change / 2), seeds=seeds)
        of_patients = (dice - dice.mean(axis=1, keepdims=True)).reshape(2 * seeds, -1, 2).sum(axis=2) / dice.shape[1]
        matrix = participants / (participants - 1) * of_patients @ of_patients.T
        means = dice.mean(axis=1)
        rejected += readers.of_difference(
            means[:seeds], means[seeds:], matrix, paired=False, patients=participants
        ).p() < 0.05  # fmt: skip
    # the standard error of a share of 500 is 1.8 %
    assert rejected / studies == pytest.approx(0.8, abs=0.06)


def test_structures_of_one_patient_count_for_less_the_more_they_are_alike():
    cases = np.array([[1, 2, 1, 0], [1, 1, 0, 3]])
    weights = power.together_of_means(cases)
    each = cases / cases.sum(axis=1, keepdims=True) / 2
    assert weights.same == pytest.approx((each / cases.sum(axis=1, keepdims=True) / 2).sum())
    for share in (0.0, 1.0):
        found = power.covariance(weights, 1.0, assumed=AssumedDice(case_spread=0.1, patient_share=share))
        wanted = (each.sum(axis=0) ** 2).sum() if share else weights.same
        assert found == pytest.approx(0.01 * wanted)
