"""DeLong: the covariance of areas under ROC curves of the same cases, by a formula instead of resampling.

The component of a positive case is the share of negative cases with a lower score, that of a negative case the share of
positive cases with a higher one; the area's variance follows from those of the components (DeLong, DeLong and
Clarke-Pearson 1988, Biometrics 44:837). Cases of one patient are summed first (Obuchowski 1997, Biometrics 53:567);
with one case per patient that is DeLong's own formula.
"""

import numpy as np
from scipy.stats import rankdata


def areas(
    target: np.ndarray, scores: np.ndarray, *, patients: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The AUROC of each run (runs,) and their covariance (runs, runs), from targets (cases,) and scores (runs, cases).

    `patients` (cases,) is the patient of each case; without it each case is a patient. A NaN target is unknown and left
    out. Without both classes all values are NaN, with only one patient of a class the covariance.
    """
    return mean_areas(target[None, :], scores[:, None, :], patients=patients)


def mean_areas(
    targets: np.ndarray, scores: np.ndarray, *, patients: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The mean over labels of each run's AUROC (runs,) and its covariance (runs, runs).

    From targets (labels, cases) and scores (runs, labels, cases). The correlation of labels within a patient is
    included: a patient's components are summed over labels before they are squared.
    """
    labels, cases = targets.shape
    patient = np.arange(cases) if patients is None else np.unique(patients, return_inverse=True)[1]
    count = patient.max() + 1 if cases else 0
    of_all = _unbiased(np.unique(patient[~np.isnan(targets).all(axis=0)]).size)
    area, total = np.zeros(len(scores)), np.zeros((len(scores), count))
    covariance = np.zeros((len(scores), len(scores)))
    for target, of_label in zip(targets, scores.swapaxes(0, 1), strict=True):
        label_area, components = _components(target, of_label)
        area += label_area
        covariance += 0.0 if components else np.nan
        for value, part in components.items():
            inside = patient[target == value]
            sums = np.array([np.bincount(inside, weights=row, minlength=count) for row in part])
            total += sums
            # `total` below has the factor of all patients; a class has fewer, and its own squares need a larger one
            covariance += (_unbiased(np.unique(inside).size) - of_all) * _products(sums)
    return area / labels, (covariance + of_all * _products(total)) / labels**2


def _components(target: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The areas (runs,), and by class the centred components of the cases: (runs, cases of the class)."""
    positive, negative = target == 1, target == 0
    negatives, positives = np.count_nonzero(negative), np.count_nonzero(positive)
    if not negatives or not positives:
        return np.full(len(scores), np.nan), {}
    of_positive, of_negative = scores[:, positive], scores[:, negative]
    # mid-ranks: a case's rank among all less that in its own class counts the other class below it, ties half
    ranks = rankdata(np.concatenate([of_positive, of_negative], axis=1), axis=1)
    beats = (ranks[:, :positives] - rankdata(of_positive, axis=1)) / negatives
    beaten_by = 1 - (ranks[:, positives:] - rankdata(of_negative, axis=1)) / positives
    area = beats.mean(axis=1)
    return area, {1: (beats - area[:, None]) / positives, 0: (beaten_by - area[:, None]) / negatives}


def _unbiased(patients: int) -> float:
    """n / (n - 1), which makes a variance about an estimated mean unbiased; NaN for fewer than two patients."""
    return patients / (patients - 1) if patients > 1 else np.nan


def _products(sums: np.ndarray) -> np.ndarray:
    """Sums of products over patients (runs, runs)."""
    # not by a matrix product, whose rounding depends on the number of threads
    return np.einsum("ip,jp->ij", sums, sums)
