"""Feature probes: how well labels are predicted from an encoder's features, by nearest neighbours or a linear model."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headwater.study.source import Probe

Targets = tuple[np.ndarray, np.ndarray]
"""Targets (rows, labels) to train on and to validate on: 1 present, 0 absent, NaN unknown."""


def scorable(targets: Targets) -> list[int]:
    """The positions of the labels with positive and negative cases in training and in validation."""
    two_classes = [(part == 1).any(axis=0) & (part == 0).any(axis=0) for part in targets]
    return np.flatnonzero(two_classes[0] & two_classes[1]).tolist()


def macro_auroc(probe: Probe, training: np.ndarray, validation: np.ndarray, *, targets: Targets) -> float:
    """Mean AUROC over the labels on validation features (rows, width), by a probe fitted to training features.

    NaN if a feature is NaN or infinite.
    """
    if not (np.isfinite(training).all() and np.isfinite(validation).all()):
        return float("nan")
    return float(np.mean([_auroc(probe, training, validation, _column(targets, at)) for at in scorable(targets)]))


def _column(targets: Targets, label: int) -> Targets:
    """The targets of one label."""
    return targets[0][:, label], targets[1][:, label]


def _auroc(probe: Probe, training: np.ndarray, validation: np.ndarray, targets: Targets) -> float:
    """AUROC of one label over the rows whose target is known."""
    fitted, scored = (np.isfinite(part) for part in targets)
    scores = SCORES[probe.kind](probe, training[fitted], targets[0][fitted], validation[scored])
    return float(roc_auc_score(targets[1][scored], scores))


def _by_neighbours(probe: Probe, training: np.ndarray, target: np.ndarray, validation: np.ndarray) -> np.ndarray:
    """Weighted votes of the nearest neighbours by cosine (Wu et al. 2018, arXiv 1805.01978, section 3.4)."""
    voters = KNeighborsRegressor(
        n_neighbors=min(probe.neighbours, len(target)),
        # relative to the nearest neighbour's distance, which cancels in the vote: its weight is 1, so the weights
        # cannot all underflow to 0
        weights=lambda distances: np.exp((distances.min(axis=1, keepdims=True) - distances) / probe.temperature),
        metric="cosine",
        algorithm="brute",
    )
    return voters.fit(training, target).predict(validation)


def _by_a_linear_model(probe: Probe, training: np.ndarray, target: np.ndarray, validation: np.ndarray) -> np.ndarray:
    """Log-odds of a logistic regression on standardised features."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return model.fit(training, target).decision_function(validation)


SCORES = {"knn": _by_neighbours, "linear_probe": _by_a_linear_model}
