"""Feature probes: how well labels are predicted from an encoder's features, by nearest neighbours or a linear model."""

from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headwater.study.source import CHOSEN, Probe

Targets = tuple[np.ndarray, np.ndarray]
"""Targets (rows, labels) to train on and to validate on: 1 present, 0 absent, NaN unknown."""

GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""The inverse penalties among which one is chosen, the strongest penalty first."""

HELD_OUT = 5
"""One of so many patients of the training split is held out to choose the penalty."""


def scorable(targets: Targets) -> list[int]:
    """The positions of the labels with positive and negative cases in training and in validation."""
    two_classes = [(part == 1).any(axis=0) & (part == 0).any(axis=0) for part in targets]
    return np.flatnonzero(two_classes[0] & two_classes[1]).tolist()


def held_out(patients: np.ndarray) -> np.ndarray:
    """Which rows, given their patients, are held out to choose the penalty: those of a fifth of them, always the same.

    At least those of one patient are.
    """
    names = np.unique(patients)
    drawn = np.random.default_rng(0).permutation(len(names))[: max(1, len(names) // HELD_OUT)]
    return np.isin(patients, names[drawn])


def macro_auroc(probe: Probe, training: np.ndarray, validation: np.ndarray, *, targets: Targets) -> float:
    """Mean AUROC over the labels on validation features (rows, width), by a probe fitted to training features.

    NaN if a feature is NaN or infinite. The penalty of a linear probe must be a number: see `with_penalty`.
    """
    if not (np.isfinite(training).all() and np.isfinite(validation).all()):
        return float("nan")
    labels = scorable(targets)
    fitted, scored = (part[:, labels] for part in targets)
    scores = SCORES[probe.kind](probe, training, fitted, validation)
    return float(np.mean([_auroc(target, score) for target, score in zip(scored.T, scores, strict=True)]))


def with_penalty(probe: Probe, training: np.ndarray, *, targets: np.ndarray, held: np.ndarray) -> Probe:
    """The probe with a number as its penalty: of `GRID` the one with the best macro AUROC on the rows `held` out.

    The first of equals, so the strongest penalty. The labels (rows, labels) that have both classes on either side
    count; features that are no numbers choose the first, as nothing is better.
    """
    if probe.inverse_penalty != CHOSEN:
        return probe
    given = {"targets": (targets[~held], targets[held])}
    candidates = [probe.model_copy(update={"inverse_penalty": value}) for value in GRID]
    scores = [macro_auroc(one, training[~held], training[held], **given) for one in candidates]
    return candidates[int(np.argmax(np.nan_to_num(scores, nan=-1.0)))]


def _auroc(target: np.ndarray, score: np.ndarray) -> float:
    """AUROC of one label over the rows whose target is known."""
    known = np.isfinite(target)
    return float(roc_auc_score(target[known], score[known]))


def _by_neighbours(
    probe: Probe, training: np.ndarray, targets: np.ndarray, validation: np.ndarray
) -> Iterator[np.ndarray]:
    """Of each label the weighted votes of the nearest neighbours (Wu et al. 2018, arXiv 1805.01978, section 3.4).

    Those vote whose target is known, the nearest by cosine. One search finds them for all labels.
    """
    known = np.isfinite(targets)
    # among so many nearest there are enough whose target is known, of each label
    most = min(len(training), probe.neighbours + int((~known).sum(axis=0).max()))
    search = NearestNeighbors(n_neighbors=most, metric="cosine", algorithm="brute").fit(training)
    distances, nearest = search.kneighbors(validation)
    for target, has in zip(targets.T, known.T, strict=True):
        votes = has[nearest]
        votes &= votes.cumsum(axis=1) <= probe.neighbours
        # relative to the nearest neighbour's distance, which cancels in the vote: its weight is 1, so the weights
        # cannot all underflow to 0
        near = np.where(votes, distances, np.inf)
        weights = np.exp((near.min(axis=1, keepdims=True) - near) / probe.temperature)
        yield (weights * np.where(votes, target[nearest], 0)).sum(axis=1) / weights.sum(axis=1)


def _by_a_linear_model(
    probe: Probe, training: np.ndarray, targets: np.ndarray, validation: np.ndarray
) -> Iterator[np.ndarray]:
    """Of each label the log-odds of a logistic regression on standardised features."""
    for target in targets.T:
        known = np.isfinite(target)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=probe.inverse_penalty, max_iter=1000))
        yield model.fit(training[known], target[known]).decision_function(validation)


SCORES = {"knn": _by_neighbours, "linear_probe": _by_a_linear_model}
