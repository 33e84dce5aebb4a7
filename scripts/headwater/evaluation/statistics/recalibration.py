"""Recalibration: logistic recalibration and temperature scaling of scores.

The logistic model of Cox (1958, Biometrika 45:562): log-odds of the finding = intercept + slope x score. With the slope
fixed at 1 its intercept is calibration in the large; with both free, a slope below 1 means that scores are too extreme,
above 1 too moderate; together they are weak calibration (Van Calster et al. 2019, BMC Medicine 17:230).

The variation over patients is estimated from influence functions (White 1982, Econometrica 50:1; cases of one patient
summed first: Liang and Zeger 1986, Biometrika 73:13), not from a bootstrap: with few positive patients the scores
separate the classes in some resamples, which then have no slope, so that the spread over resamples is not defined.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit

COLDEST, HOTTEST = 0.01, 100.0
"""Bounds of the search for a temperature."""


SURE = 1e-6
"""Total variance of the predicted outcomes below which it counts as 0."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One coefficient of a recalibration, and the influence of each patient on it."""

    value: float
    influence: np.ndarray
    """(patients,): the influence of each patient on the estimate; the sum is 0."""


def in_the_large(target: np.ndarray, score: np.ndarray, patient: np.ndarray, *, patients: int) -> Fitted:
    """The intercept with the slope fixed at 1: 0 if the mean predicted probability equals the observed share.

    `target` 0 or 1, `score` log-odds, `patient` of each case: each (cases,). NaN without both classes.
    """
    share = target.mean() if len(target) else 0.0
    if not 0 < share < 1:
        return nothing(patients)
    # at these two shifts the mean probability is at most, and at least, the observed share: they bracket the root
    low, high = logit(share) - score.max(), logit(share) - score.min()

    def excess(shift: float) -> float:
        return float(np.mean(expit(score + shift) - target))

    value = low if low == high else _root(excess, low, high)
    chance = expit(score + value)
    information = np.sum(chance * (1 - chance))
    # if all probabilities are 0 or 1 the information is 0, and the influence undefined
    influence = (target - chance) / information if information > SURE else np.full(len(target), np.nan)
    return Fitted(value=value, influence=_by_patient(influence, patient, patients))


def slope(target: np.ndarray, score: np.ndarray, patient: np.ndarray, *, patients: int) -> Fitted:
    """The slope with the intercept free: 1 if scores are neither too extreme nor too moderate.

    NaN if the scores separate the classes or are all equal: then there is no finite estimate (Albert and Anderson 1984,
    Biometrika 71:1).
    """
    if not overlapping(target, score):
        return nothing(patients)
    middle, spread = score.mean(), score.std()
    # standardised for the optimiser; the slope and its influence are scaled back below
    x = (score - middle) / spread
    coefficients = minimize(
        _loss, np.zeros(2), args=(x, target), jac=_gradient, hess=_curvature, method="trust-exact", tol=1e-10
    ).x
    chance = expit(coefficients[0] + coefficients[1] * x)
    inverse = np.linalg.inv(_curvature(coefficients, x, target) * len(x))
    influence = (inverse[1, 0] + inverse[1, 1] * x) * (target - chance) / spread
    return Fitted(value=float(coefficients[1] / spread), influence=_by_patient(influence, patient, patients))


def overlapping(target: np.ndarray, score: np.ndarray) -> bool:
    """Whether the scores of the classes overlap, so that a finite slope exists."""
    with_finding, without = score[target == 1], score[target == 0]
    if not len(with_finding) or not len(without):
        return False
    return bool(with_finding.min() < without.max() and without.min() < with_finding.max())


def nothing(patients: int) -> Fitted:
    """The coefficient if there is no estimate: NaN."""
    return Fitted(value=np.nan, influence=np.full(patients, np.nan))


def covariance(influences: np.ndarray, *, patients: float = np.inf) -> np.ndarray:
    """The covariance of runs (runs, runs) over samples of patients, from their influences (runs, patients).

    Multiplied by n / (n - 1) for n `patients` in the smaller class, as that of replicates; NaN for fewer than two.
    """
    if patients < 2:
        return np.full((len(influences), len(influences)), np.nan)
    unbiased = patients / (patients - 1) if patients < np.inf else 1.0
    # not by a matrix product, whose rounding depends on the number of threads
    return unbiased * np.einsum("ip,jp->ij", influences, influences)


def temperature(target: np.ndarray, score: np.ndarray) -> float:
    """The temperature: the divisor of scores (cases,) that minimises the log loss (Guo et al. 2017, ICML).

    Scores are log-odds and targets 0 or 1, of all labels together; NaN without both classes. The loss is convex in the
    inverse temperature; the minimum is searched between 0.01 and 100.
    """
    if not 0 < np.count_nonzero(target == 1) < len(target):
        return np.nan

    def derivative(log_inverse: float) -> float:
        return float(np.mean(score * (expit(np.exp(log_inverse) * score) - target)))

    low, high = -np.log(HOTTEST), -np.log(COLDEST)
    if derivative(low) >= 0:
        return HOTTEST
    if derivative(high) <= 0:
        return COLDEST
    return float(np.exp(-_root(derivative, low, high)))


def log_loss(target: np.ndarray, score: np.ndarray) -> float:
    """The mean log loss of log-odds (cases,)."""
    return float(np.mean(np.logaddexp(0, score) - target * score)) if len(target) else np.nan


def _root(increasing, low: float, high: float) -> float:
    """The root of an increasing function between two bounds."""
    return float(brentq(increasing, low, high, xtol=1e-12, rtol=1e-14, maxiter=1000))


def _by_patient(influence: np.ndarray, patient: np.ndarray, patients: int) -> np.ndarray:
    """Influences of cases summed per patient."""
    return np.bincount(patient, weights=influence, minlength=patients)


def _loss(coefficients: np.ndarray, x: np.ndarray, target: np.ndarray) -> float:
    """The log loss of the logistic model (intercept, slope)."""
    return log_loss(target, coefficients[0] + coefficients[1] * x)


def _gradient(coefficients: np.ndarray, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The gradient of the log loss."""
    residual = expit(coefficients[0] + coefficients[1] * x) - target
    return np.array([residual.mean(), (residual * x).mean()])


def _curvature(coefficients: np.ndarray, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The Hessian of the log loss."""
    chance = expit(coefficients[0] + coefficients[1] * x)
    weight = chance * (1 - chance)
    zeroth, first, second = weight.mean(), (weight * x).mean(), (weight * x**2).mean()
    return np.array([[zeroth, first], [first, second]])
