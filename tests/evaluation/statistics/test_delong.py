from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from headwater.evaluation.metrics import auroc
from headwater.evaluation.statistics import delong, resampling

HERE = Path(__file__).parent
STORED = pd.read_csv(HERE / "proc_delong.csv", comment="#").set_index("set")
CASES = pd.read_csv(HERE / "proc_delong_cases.csv")


@pytest.mark.parametrize("name", STORED.index)
def test_it_agrees_with_proc(name: str):
    cases, stored = CASES[CASES["set"] == name], STORED.loc[name]
    target, scores = cases["target"].to_numpy(float), cases[["one", "other"]].to_numpy().T
    area, covariance = delong.areas(target, scores)
    found = np.array([*area, covariance[0, 0], covariance[1, 1], covariance[0, 1]])
    assert found == pytest.approx(stored[["auc1", "auc2", "var1", "var2", "cov"]].to_numpy(float), abs=1e-12, rel=1e-9)
    z = (area[0] - area[1]) / np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert z == pytest.approx(stored["z"], rel=1e-9)
    assert 2 * norm.sf(abs(z)) == pytest.approx(stored["p"], rel=1e-9)


def test_the_stored_table_says_where_it_comes_from():
    assert (HERE / "proc_delong.csv").read_text().startswith("# pROC 1.18.0, R version")


def drawn(*, patients: int, most: int, runs: int = 2, seed: int = 0, digits: int = 9) -> tuple[np.ndarray, ...]:
    """Targets, scores and patients; one patient's cases are alike."""
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), random.integers(1, most + 1, patients))
    alike = random.normal(size=(2 + runs, patients))[:, patient]
    own = random.normal(size=(2 + runs, len(patient)))
    noise = (alike + own) / np.sqrt(2)
    target = (noise[0] > 0.7).astype(float)
    scores = 0.9 * target + 0.6 * noise[1] + 0.8 * noise[2:]
    return target, scores.round(digits), patient


def by_hand(target: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Obuchowski's S10, S01 and S11 by loops over pairs of cases."""
    positives, negatives = np.flatnonzero(target == 1), np.flatnonzero(target == 0)
    names = sorted(set(patients.tolist()))
    area = np.zeros(len(scores))
    sums = np.zeros((2, len(scores), len(names)))  # of positive, of negative cases
    for run, score in enumerate(scores):
        wins = np.array([[(score[x] > score[y]) + 0.5 * (score[x] == score[y]) for y in negatives] for x in positives])
        area[run] = wins.mean()
        for row, x in enumerate(positives):
            sums[0, run, names.index(patients[x])] += wins[row].mean() - area[run]
        for column, y in enumerate(negatives):
            sums[1, run, names.index(patients[y])] += wins[:, column].mean() - area[run]
    many = [len(set(patients[positives])), len(set(patients[negatives])), len(names)]
    stretched = [count / (count - 1) for count in many]
    sizes = len(positives), len(negatives)
    s10 = stretched[0] * sums[0] @ sums[0].T / sizes[0]
    s01 = stretched[1] * sums[1] @ sums[1].T / sizes[1]
    s11 = stretched[2] * sums[0] @ sums[1].T
    return area, s10 / sizes[0] + s01 / sizes[1] + (s11 + s11.T) / (sizes[0] * sizes[1])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0, 1, 9]))
def test_it_is_the_formula_of_the_paper(seed: int, most: int, digits: int):
    target, scores, patients = drawn(patients=12, most=most, runs=3, seed=seed, digits=digits)
    bearing, free = (len(set(patients[target == value])) for value in (1, 0))
    if min(bearing, free) < 2:
        assert np.isnan(delong.areas(target, scores, patients=patients)[1]).all()
        return
    area, covariance = delong.areas(target, scores, patients=patients)
    expected_area, expected = by_hand(target, scores, patients)
    assert area == pytest.approx(expected_area, abs=1e-12)
    assert covariance == pytest.approx(expected, abs=1e-12)
    assert np.linalg.eigvalsh(covariance).min() > -1e-12


def test_patients_of_one_case_each_are_no_clusters():
    target, scores, _ = drawn(patients=80, most=1, runs=3)
    area, covariance = delong.areas(target, scores)
    for names in (np.arange(80), np.array([f"patient {(7 * number) % 80}" for number in range(80)])):
        again, clustered = delong.areas(target, scores, patients=names)
        assert again == pytest.approx(area) and clustered == pytest.approx(covariance, rel=1e-12)


def test_cases_that_stand_there_twice_tell_nothing_new():
    target, scores, patients = drawn(patients=60, most=1, runs=3)
    area, covariance = delong.areas(target, scores)
    twice = np.repeat(target, 2), np.repeat(scores, 2, axis=1)
    again, clustered = delong.areas(*twice, patients=np.repeat(patients, 2))
    assert again == pytest.approx(area, abs=1e-12)
    assert clustered == pytest.approx(covariance, rel=1e-12)
    # as if each were a patient of its own, they would halve the variance
    assert np.diag(delong.areas(*twice)[1]) == pytest.approx(np.diag(covariance) / 2, rel=0.05)


def bootstrapped(target: np.ndarray, scores: np.ndarray, patients: np.ndarray, *, resamples: int) -> np.ndarray:
    """Areas of `scores` with patients resampled: (runs, resamples)."""
    counts = resampling.patient_counts(patients.max() + 1, resamples=resamples, seed=0)
    return np.array([auroc.measure(target, score, counts[:, patients]) for score in scores])


def test_it_agrees_with_a_bootstrap_over_patients():
    target, scores, patients = drawn(patients=300, most=6, seed=3)
    covariance = delong.areas(target, scores, patients=patients)[1]
    expected = np.cov(bootstrapped(target, scores, patients, resamples=3000))
    contrast = np.array([1, -1])
    for weights in (np.array([1, 0]), np.array([0, 1]), contrast):  # standard error of an SD over 3,000: 1.3 %
        assert np.sqrt(weights @ covariance @ weights) == pytest.approx(np.sqrt(weights @ expected @ weights), rel=0.05)
    cases_alone = delong.areas(target, scores)[1]
    assert cases_alone[0, 0] < 0.8 * covariance[0, 0]


def test_the_mean_over_labels_agrees_with_a_bootstrap_over_patients():
    one, scores, patients = drawn(patients=200, most=4, seed=5)
    other = (scores[0] + np.random.default_rng(1).normal(size=len(one)) > 1).astype(float)
    other[::9] = np.nan
    targets, both = np.stack([one, other]), np.stack([scores, scores[::-1]], axis=1)
    area, covariance = delong.mean_areas(targets, both, patients=patients)
    known = ~np.isnan(other)
    firsts = bootstrapped(one, both[:, 0], patients, resamples=3000)
    seconds = bootstrapped(other[known], both[:, 1][:, known], patients[known], resamples=3000)
    assert area == pytest.approx((firsts.mean(axis=1) + seconds.mean(axis=1)) / 2, abs=0.005)
    expected = np.cov((firsts + seconds) / 2)
    assert np.sqrt(np.diag(covariance)) == pytest.approx(np.sqrt(np.diag(expected)), rel=0.05)
    assert covariance[0, 1] == pytest.approx(expected[0, 1], abs=0.1 * expected[0, 0])


def test_the_same_label_twice_is_that_label():
    target, scores, patients = drawn(patients=400, most=3)
    area, covariance = delong.areas(target, scores, patients=patients)
    twice = delong.mean_areas(np.stack([target] * 2), np.stack([scores] * 2, axis=1), patients=patients)
    assert twice[0] == pytest.approx(area) and twice[1] == pytest.approx(covariance, rel=0.01)


def test_identical_runs_do_not_differ():
    target, scores, patients = drawn(patients=50, most=3)
    covariance = delong.areas(target, scores[[0, 1, 0]], patients=patients)[1]
    assert covariance[0, 0] == covariance[0, 2] == covariance[2, 2]


def test_unknown_targets_are_left_out():
    target, scores, patients = drawn(patients=50, most=3)
    known = np.arange(len(target)) % 5 > 0
    holed = np.where(known, target, np.nan)
    found = delong.areas(holed, scores, patients=patients)
    expected = delong.areas(target[known], scores[:, known], patients=patients[known])
    assert found[0] == pytest.approx(expected[0]) and found[1] == pytest.approx(expected[1])


@pytest.mark.parametrize("target", [np.zeros(6), np.ones(6), np.full(6, np.nan), np.zeros(0)])
def test_one_class_has_no_area(target: np.ndarray):
    area, covariance = delong.areas(target, np.arange(2.0 * len(target)).reshape(2, -1))
    assert np.isnan(area).all() and np.isnan(covariance).all()


def test_one_patient_of_a_class_has_an_area_but_no_variance():
    target, scores = np.array([1.0, 0, 0, 0]), np.array([[3.0, 1, 4, 1]])
    area, covariance = delong.areas(target, scores)
    assert area == pytest.approx([2 / 3]) and np.isnan(covariance).all()


def test_a_score_that_says_nothing_is_a_half():
    area, covariance = delong.areas(np.array([1.0, 0, 1, 0]), np.zeros((1, 4)))
    assert area == [0.5] and covariance == [[0.0]]
