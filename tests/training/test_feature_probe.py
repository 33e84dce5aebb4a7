"""Probes against the same things done by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import rankdata

from headwater.study.source import Probe
from headwater.training.feature_probe import macro_auroc, scorable


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
