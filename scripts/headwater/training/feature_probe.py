"""Probes: how well labels are told by an encoder's features as they are, by neighbours or by a linear model."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headwater.study.source import Probe

Targets = tuple[np.ndarray, np.ndarray]
"""Targets (rows, labels) to learn from, and those asked for: 1 present, 0 absent, NaN unknown."""


def asked(targets: Targets) -> list[int]:
    """The labels that can be learned and scored: both classes stand in either part."""
    both = [(part == 1).any(axis=0) & (part == 0).any(axis=0) for part in targets]
    return np.flatnonzero(both[0] & both[1]).tolist()


def macro_auroc(probe: Probe, training: np.ndarray, validation: np.ndarray, *, targets: Targets) -> float:
    """Mean AUROC over the labels of features to be judged (rows, width), after learning from other features.

    NaN where features are no numbers.
    """
    if not (np.isfinite(training).all() and np.isfinite(validation).all()):
        return float("nan")
    return float(np.mean([_auroc(probe, training, validation, of_label(targets, label)) for label in asked(targets)]))


def of_label(targets: Targets, label: int) -> Targets:
    """One label's targets."""
    return targets[0][:, label], targets[1][:, label]


def _auroc(probe: Probe, training: np.ndarray, validation: np.ndarray, targets: Targets) -> float:
    """AUROC of one label over the rows of which it is known."""
    labelled, judged = (np.isfinite(part) for part in targets)
    scores = SCORES[probe.kind](probe, training[labelled], targets[0][labelled], validation[judged])
    return float(roc_auc_score(targets[1][judged], scores))


def _by_neighbours(probe: Probe, training: np.ndarray, target: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Votes of the nearest by cosine, weighted as by Wu et al. 2018 (arXiv 1805.01978, section 3.4)."""
    voters = KNeighborsRegressor(
        n_neighbors=min(probe.neighbours, len(target)),
        # from the nearest one on, so that not all weights can be too small for a number
        weights=lambda distances: np.exp((distances.min(axis=1, keepdims=True) - distances) / probe.temperature),
        metric="cosine",
        algorithm="brute",
    )
    return voters.fit(training, target).predict(asked)


def _by_a_linear_model(probe: Probe, training: np.ndarray, target: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Log-odds of a logistic regression on standardised features."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return model.fit(training, target).decision_function(asked)


SCORES = {"knn": _by_neighbours, "linear_probe": _by_a_linear_model}
