"""Folds: differences between sources over the folds of a cross-validation, whose trainings share most patients.

Where a data set has no test split, each of k folds is tested by networks that learned from the other k - 1. Each
patient is tested once, but any two folds' networks share (k - 2) / (k - 1) of their training patients, so that the
values of folds are correlated, and a plain t-test over folds finds differences that are not there. Nadeau and Bengio
(2003, Machine Learning 52:239, doi 10.1023/A:1024068626366, section 5) take the correlation of two folds to be the
share of the patients that a fold tests, which enlarges the variance of the mean from s^2 / k to
(1 / k + n_test / n_train) s^2. No unbiased estimate of it exists (Bengio and Grandvalet 2004, JMLR 5:1089): this one is
too large where networks hardly depend on which patients they learned from, and too small where they do above all.
"""

import numpy as np

from headwater.evaluation.statistics.readers import UNKNOWN, Estimate


def of_source(values: np.ndarray, *, patients: np.ndarray, fraction: float = 1.0) -> Estimate:
    """The mean over folds of a source's values (folds, seeds), of which each tests so many `patients` (folds,).

    Seeds of a fold share its patients, so their mean counts once. V = (1 / k + n_test / n_train) s^2, df = k - 1.
    """
    return _over(np.asarray(values, float), np.asarray(patients, float), fraction)


def of_difference(values: np.ndarray, others: np.ndarray, *, patients: np.ndarray, fraction: float = 1.0) -> Estimate:
    """The difference of two sources' means over the same folds: values (folds, seeds) each.

    Both are tested on the same patients of a fold and learned from the same others, so differences are taken fold by
    fold; seeds may be paired or not, as only their mean enters.
    """
    values, others = np.asarray(values, float), np.asarray(others, float)
    apart = values.mean(axis=1, keepdims=True) - others.mean(axis=1, keepdims=True)
    return _over(apart, np.asarray(patients, float), fraction)


def enlarged(patients: np.ndarray, *, fraction: float = 1.0) -> float:
    """By what the variance between folds is multiplied for that of their mean: 1 / k + n_test / n_train.

    With k folds of one size 1 / k + 1 / (k - 1); of unequal ones the mean share is taken. `fraction` is the share of
    the other folds' patients that networks learn from: the fewer, the more they depend on whom they learned from.
    """
    tested = np.asarray(patients, float)
    learned = (tested.sum() - tested) * fraction
    return float(1 / len(tested) + tested.mean() / learned.mean())


def _over(values: np.ndarray, patients: np.ndarray, fraction: float) -> Estimate:
    """The mean over folds with its enlarged variance; unknown with fewer than two folds or an undefined value."""
    of_folds = values.mean(axis=1)
    if len(of_folds) != len(patients):
        raise ValueError(f"{len(of_folds)} folds need as many numbers of patients (got {len(patients)})")
    if len(of_folds) < 2 or np.isnan(of_folds).any():
        return UNKNOWN
    # relative to the first fold, so that equal folds have a variance of exactly 0, without a rounding error
    variance = (of_folds - of_folds[0]).var(ddof=1) * enlarged(patients, fraction=fraction)
    return Estimate(float(of_folds.mean()), float(variance), float(len(of_folds) - 1))
