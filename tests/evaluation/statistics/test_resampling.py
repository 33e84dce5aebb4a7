import numpy as np
import pytest

from headwater.evaluation.metrics import auroc
from headwater.evaluation.statistics import resampling
from headwater.evaluation.statistics.significance import two_sided


def test_each_replicate_draws_as_many_patients_as_there_are():
    counts = resampling.patient_counts(37, resamples=1000, seed=3)
    assert counts.shape == (1000, 37) and (counts.sum(axis=1) == 37).all()


def test_counts_have_the_moments_of_a_multinomial():
    patients, resamples = 20, 40_000
    counts = resampling.patient_counts(patients, resamples=resamples, seed=0).astype(float)
    covariance = np.cov(counts.T)
    assert counts.mean(axis=0) == pytest.approx(np.ones(patients), abs=0.03)
    assert np.diag(covariance) == pytest.approx(np.full(patients, 1 - 1 / patients), abs=0.05)
    off = covariance[~np.eye(patients, dtype=bool)]
    assert off.mean() == pytest.approx(-1 / patients, abs=0.002)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 200])
def test_blocks_give_the_same_counts_as_one_draw(size):
    whole = resampling.patient_counts(11, resamples=300, seed=5)
    parts = [
        resampling.patient_counts(11, resamples=min(size, 300 - first), seed=5, first=first)
        for first in range(0, 300, size)
    ]
    assert np.array_equal(np.concatenate(parts), whole)


def test_more_resamples_keep_the_first_ones():
    few, many = (resampling.patient_counts(9, resamples=count, seed=1) for count in (70, 500))
    assert np.array_equal(few, many[:70])
    few, many = (resampling.seed_counts(5, resamples=count, seed=1, source="dino") for count in (70, 500))
    assert np.array_equal(few, many[:70])


def test_seeds_and_blocks_have_streams_of_their_own():
    one, other = (resampling.patient_counts(50, resamples=128, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[:64], one[64:])


def test_sources_resample_their_seeds_independently():
    one, other = (resampling.seed_counts(4, resamples=5000, seed=0, source=name) for name in ("dino", "random"))
    assert (one.sum(axis=1) == 4).all()
    assert abs(np.corrcoef(one[:, 0], other[:, 0])[0, 1]) < 0.06
    assert np.array_equal(one, resampling.seed_counts(4, resamples=5000, seed=0, source="dino"))


@pytest.mark.parametrize("patients", [1, 255, 256, 70_000])
def test_a_count_always_fits_its_type(patients):
    counts = resampling.patient_counts(patients, resamples=1, seed=0)
    assert np.iinfo(counts.dtype).max >= patients and counts.sum() == patients


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_variance_over_seeds_is_not_under_estimated(seeds):
    values = np.random.default_rng(seeds).normal(size=seeds)
    counts = resampling.seed_counts(seeds, resamples=60_000, seed=0, source="dino")
    replicates = resampling.over_seeds(np.tile(values, (60_000, 1)), counts)
    assert replicates.mean() == pytest.approx(values.mean(), abs=0.02)
    assert replicates.var() == pytest.approx(values.var(ddof=1) / seeds, rel=0.05)


def test_a_single_seed_stays_as_it_is():
    values = np.linspace(0, 1, 7)[:, None]
    counts = resampling.seed_counts(1, resamples=7, seed=0, source="dino")
    assert np.array_equal(resampling.over_seeds(values, counts), values[:, 0])


def _null_p(draw, *, patients, images, units):
    """p of two equally good scores on patients with several images each, resampling `units`."""
    patient = np.repeat(np.arange(patients), images)
    target = np.repeat((draw.random(patients) < 0.3).astype(float), images)
    counts = resampling.patient_counts(units.max() + 1, resamples=199, seed=int(draw.integers(2**31)))
    weights = counts.take(units, axis=1)
    as_they_are = np.ones((1, len(target)), int)
    pair = [
        target + draw.normal(size=patients)[patient] + 0.5 * draw.normal(size=len(target)) for _ in ("one", "other")
    ]
    observed = np.subtract(*(auroc.measure(target, score, as_they_are)[0] for score in pair))
    return two_sided(np.subtract(*(auroc.measure(target, score, weights) for score in pair)), observed=observed)


def test_resampling_patients_keeps_the_level_where_resampling_images_does_not():
    patients, images, sets = 120, 6, 200
    draw = np.random.default_rng(7)
    of_patient, of_image = np.repeat(np.arange(patients), images), np.arange(patients * images)
    by_patient = [_null_p(draw, patients=patients, images=images, units=of_patient) for _ in range(sets)]
    by_image = [_null_p(draw, patients=patients, images=images, units=of_image) for _ in range(sets)]
    # binomial spread of 200 sets at 5 %: 1.5 points
    assert 0.01 <= np.mean(np.array(by_patient) <= 0.05) <= 0.11
    assert np.mean(np.array(by_image) <= 0.05) >= 0.2
