"""Means: averages of one number per case in 64 bootstrap replicates at once, for metrics such as Brier and Dice."""

from dataclasses import dataclass

import numba
import numpy as np

from headwater.evaluation.statistics.ranked import LANES


@dataclass(frozen=True)
class Summed:
    """A number per case, summed over each patient's cases, ready for `mean`."""

    total: np.ndarray
    """float (patients,): sum over the patient's cases."""
    cases: np.ndarray
    """float (patients,): how many cases the patient has."""


def summed(value: np.ndarray, patient: np.ndarray, *, patients: int) -> Summed:
    """Values (cases,) of patients (cases,) as sums per patient; NaN does not count."""
    known = ~np.isnan(value)
    value, patient = value[known], patient[known]
    # sorted, so that rounding does not depend on the order of the cases
    order = np.lexsort((value, patient))
    return Summed(
        total=np.bincount(patient[order], weights=value[order], minlength=patients),
        cases=np.bincount(patient, minlength=patients).astype(float),
    )


@numba.njit(nogil=True, cache=True, boundscheck=False)
def mean(counts, total, cases, out):
    """The mean over cases in 64 replicates: `counts` uint8 (patients, 64), `out` float (64,); NaN without a case."""
    numerator, denominator = np.zeros(LANES), np.zeros(LANES)
    for patient in range(counts.shape[0]):
        for lane in range(LANES):
            numerator[lane] += np.float64(counts[patient, lane]) * total[patient]
            denominator[lane] += np.float64(counts[patient, lane]) * cases[patient]
    for lane in range(LANES):
        out[lane] = numerator[lane] / denominator[lane] if denominator[lane] > 0 else np.nan


def weighted(value: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean of values (cases,) in each replicate, a row of `weights` (replicates, cases); NaN does not count."""
    known = ~np.isnan(value)
    weights = np.asarray(weights, dtype=float)[:, known]
    total = weights.sum(axis=1)
    # not by a matrix product, whose rounding depends on the number of threads
    return np.divide(
        np.einsum("rc,c->r", weights, value[known]), total, out=np.full(len(weights), np.nan), where=total > 0
    )
