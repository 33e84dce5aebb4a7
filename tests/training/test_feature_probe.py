"""Probes against the same things done by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsRegressor, NearestNeighbors

from headwater.study.source import Probe
from headwater.training.feature_probe import GRID, held_out, macro_auroc, scorable, with_penalty


def made(*, seed=0, cases=60, width=5, labels=3, unknown=0.2):
    """(features to learn from, features to judge, targets of both) with some signal, and some targets unknown."""
    chance = np.random.default_rng(seed)
    features = chance.normal(size=(2, cases, width)).astype(np.float32)
    targets = (features[:, :, :labels] + chance.normal(size=(2, cases, labels)) > 0).astype(np.float32)
    targets[chance.random(targets.shape) < unknown] = np.nan
    return features[0], features[1], (targets[0], targets[1])


def auroc(target, score):
    """The share of pairs in the right order, from ranks."""
    ranks, positive = rankdata(score), target == 1
    return (ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2) / (positive.sum() * (~positive).sum())


def by_hand(training, validation, targets, scores, *, exact):
    """(macro AUROC, share of pairs whose scores lie so near that they may change places)."""
    found, near = [], []
    for label in range(targets[0].shape[1]):
        known, judged = np.isfinite(targets[0][:, label]), np.isfinite(targets[1][:, label])
        given = scores(training[known], targets[0][known, label], validation[judged])
        target = targets[1][judged, label]
        found.append(auroc(target, given))
        near.append((np.abs(given[target == 1][:, None] - given[target == 0]) < exact).mean())
    return np.mean(found), np.mean(near)


def test_the_smallest_temperature_asks_the_nearest_alone():
    training, validation, targets = made()
    cold, nearest = (Probe(archive="a", neighbours=count, temperature=1e-6) for count in (7, 1))
    assert macro_auroc(cold, training, validation, targets=targets) == pytest.approx(
        macro_auroc(nearest, training, validation, targets=targets)
    )


@pytest.mark.parametrize(("neighbours", "temperature"), [(1, 0.07), (7, 0.07), (20, 1.0), (500, 0.3)])
def test_neighbours_vote_as_every_pair_compared_would_have_it(neighbours, temperature):
    training, validation, targets = made()

    def votes(training, target, validation):
        near = (training / np.linalg.norm(training, axis=1, keepdims=True)).astype(np.float64)
        cosine = (validation / np.linalg.norm(validation, axis=1, keepdims=True)) @ near.T
        nearest = np.argsort(-cosine, axis=1)[:, :neighbours]
        weights = np.exp(np.take_along_axis(cosine, nearest, axis=1) / temperature)
        return (weights * target[nearest]).sum(axis=1) / weights.sum(axis=1)

    probe = Probe(archive="a", neighbours=neighbours, temperature=temperature)
    found = macro_auroc(probe, training, validation, targets=targets)
    # the features are float32
    expected, near = by_hand(training, validation, targets, votes, exact=1e-5)
    assert abs(found - expected) <= near + 1e-12
    assert 0.6 < found < 1


def test_the_linear_probe_is_the_least_of_its_loss():
    training, validation, targets = made()

    def odds(training, target, validation):
        middle, spread = training.mean(axis=0), training.std(axis=0)
        x, sign = (training - middle) / spread, 2 * target - 1
        loss = lambda w: np.logaddexp(0, -sign * (x @ w[:-1] + w[-1])).sum() + w[:-1] @ w[:-1] / 2  # noqa: E731
        w = minimize(loss, np.zeros(x.shape[1] + 1), method="BFGS").x
        return ((validation - middle) / spread) @ w[:-1]

    found = macro_auroc(Probe(archive="a", kind="linear_probe"), training, validation, targets=targets)
    # scikit-learn stops where the slope is below 1e-4
    expected, near = by_hand(training, validation, targets, odds, exact=1e-2)
    assert abs(found - expected) <= near + 1e-12


def test_only_labels_of_both_classes_in_both_parts_are_asked():
    one = np.array([[0, 0, 0, np.nan], [1, 1, 0, 1], [0, 1, np.nan, 0]])
    other = np.array([[0, 1, 0, np.nan], [1, 1, 1, 1], [0, 1, np.nan, np.nan]])
    assert scorable((one, other)) == [0]
    assert scorable((one[:1], other)) == []


def test_features_that_are_no_numbers_are_never_the_best():
    training, validation, targets = made()
    assert np.isnan(macro_auroc(Probe(archive="a"), training * np.nan, validation, targets=targets))
    assert np.isnan(macro_auroc(Probe(archive="a"), training, validation * np.inf, targets=targets))


@pytest.mark.parametrize("unknown", [0.0, 0.4])
def test_one_search_for_all_labels_finds_what_a_search_for_each_finds(unknown):
    """scikit-learn's own regression, label by label, on the rows whose target is known."""
    training, validation, targets = made(cases=200, unknown=unknown)
    probe = Probe(archive="a", neighbours=9)
    single = []
    for label in range(3):
        known, judged = (np.isfinite(part[:, label]) for part in targets)
        voters = KNeighborsRegressor(
            9, weights=lambda distances: np.exp(-distances / probe.temperature), metric="cosine", algorithm="brute"
        )
        votes = voters.fit(training[known], targets[0][known, label]).predict(validation[judged])
        single.append(roc_auc_score(targets[1][judged, label], votes))
    assert macro_auroc(probe, training, validation, targets=targets) == pytest.approx(np.mean(single), abs=1e-6)


def test_all_labels_are_searched_once(monkeypatch):
    training, validation, targets = made()
    searches, search = [], NearestNeighbors.kneighbors
    monkeypatch.setattr(NearestNeighbors, "kneighbors", lambda *given: searches.append(1) or search(*given))
    macro_auroc(Probe(archive="a"), training, validation, targets=targets)
    assert len(searches) == 1


def noisy(*, informative, cases=120, width=100):
    """Features of which some tell a label, and all others are noise; patients have three cases each."""
    chance = np.random.default_rng(2)
    features = chance.normal(size=(2, cases, width)).astype(np.float32)
    signal = features[:, :, :informative].sum(axis=2, keepdims=True) / informative**0.5
    targets = (signal + 0.7 * chance.normal(size=(2, cases, 1)) > 0).astype(np.float32)
    return features[0], features[1], (targets[0], targets[1]), np.repeat(np.arange(cases // 3), 3)


def test_the_penalty_is_that_of_the_grid_which_tells_the_held_out_patients_best():
    training, validation, targets, patients = noisy(informative=50)
    held = held_out(patients)
    assert held.sum() == 24 and not set(patients[held]) & set(patients[~held])
    asked = Probe(archive="a", kind="linear_probe", inverse_penalty="chosen")
    found = with_penalty(asked, training, targets=targets[0], held=held).inverse_penalty
    scores = []
    for value in GRID:
        one = LogisticRegression(C=value, max_iter=1000)
        scaled = (training - training[~held].mean(axis=0)) / training[~held].std(axis=0)
        one.fit(scaled[~held], targets[0][~held, 0])
        scores.append(roc_auc_score(targets[0][held, 0], one.decision_function(scaled[held])))
    assert found == GRID[int(np.argmax(scores))] < 1 and len(set(scores)) > 3
    # with more features than cases, it is better than none
    chosen, fixed = (
        macro_auroc(asked.model_copy(update={"inverse_penalty": value}), training, validation, targets=targets)
        for value in (found, 1.0)
    )
    assert chosen > fixed
    # no number is better than another of what is none
    none = with_penalty(asked, training * np.nan, targets=targets[0], held=held)
    assert none.inverse_penalty == GRID[0]
    assert with_penalty(Probe(archive="a"), training, targets=targets[0], held=held) == Probe(archive="a")
