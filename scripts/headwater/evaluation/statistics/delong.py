"""DeLong: how sure one can be of areas under ROC curves of the same cases, by a formula instead of by drawing patients.

Each positive case has the share of negative cases that it beats, each negative case the share of positive cases that
beat it; how these vary is how the area varies (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837). Cases of one
patient are summed first (Obuchowski 1997, Biometrics 53:567); with one case per patient that is DeLong's own formula.
"""

import numpy as np
from scipy.stats import rankdata


def areas(
    target: np.ndarray, scores: np.ndarray, *, patients: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The AUROC of each run (runs,) and their covariance (runs, runs), from targets (cases,) and scores (runs, cases).

    `patients` (cases,) says whose a case is; without it each case is a patient. A NaN target is unknown and left out.
    Without both classes all is NaN, with only one patient of a class the covariance is.
    """
    return mean_areas(target[None, :], scores[:, None, :], patients=patients)


def mean_areas(
    targets: np.ndarray, scores: np.ndarray, *, patients: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The mean over labels of each run's AUROC (runs,) and its covariance (runs, runs).

    From targets (labels, cases) and scores (runs, labels, cases). How labels hang together in a patient is in it:
    what a patient adds is summed over the labels before it is squared.
    """
    labels, cases = targets.shape
    patient = np.arange(cases) if patients is None else np.unique(patients, return_inverse=True)[1]
    count = patient.max() + 1 if cases else 0
    everyone = _stretch(np.unique(patient[~np.isnan(targets).all(axis=0)]).size)
    area, total = np.zeros(len(scores)), np.zeros((len(scores), count))
    covariance = np.zeros((len(scores), len(scores)))
    for target, of_label in zip(targets, scores.swapaxes(0, 1), strict=True):
        found, parts = _components(target, of_label)
        area += found
        covariance += 0.0 if parts else np.nan
        for value, part in parts.items():
            inside = patient[target == value]
            sums = np.array([np.bincount(inside, weights=row, minlength=count) for row in part])
            total += sums
            # each class has its own number of patients; those of a class are never more than all
            covariance += (_stretch(np.unique(inside).size) - everyone) * _products(sums)
    return area / labels, (covariance + everyone * _products(total)) / labels**2


def _components(target: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The areas (runs,), and by class what each case adds to them beyond the mean: (runs, cases of the class)."""
    positive, negative = target == 1, target == 0
    many, few = np.count_nonzero(negative), np.count_nonzero(positive)
    if not many or not few:
        return np.full(len(scores), np.nan), {}
    of_positive, of_negative = scores[:, positive], scores[:, negative]
    ranks = rankdata(np.concatenate([of_positive, of_negative], axis=1), axis=1)
    beats = (ranks[:, :few] - rankdata(of_positive, axis=1)) / many
    beaten_by = 1 - (ranks[:, few:] - rankdata(of_negative, axis=1)) / few
    area = beats.mean(axis=1)
    return area, {1: (beats - area[:, None]) / few, 0: (beaten_by - area[:, None]) / many}


def _stretch(patients: int) -> float:
    """What makes a sum of squares about an estimated mean unbiased; NaN for fewer than two patients."""
    return patients / (patients - 1) if patients > 1 else np.nan


def _products(sums: np.ndarray) -> np.ndarray:
    """Sums of products over patients (runs, runs); by einsum, whose rounding does not follow the number of threads."""
    return np.einsum("ip,jp->ij", sums, sums)
