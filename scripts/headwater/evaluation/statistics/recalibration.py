"""Recalibration: whether scores can be read as probabilities, and how they would have to be bent to be.

The logistic model of Cox (1958, Biometrika 45:562): log-odds of the finding = intercept + slope x score. With the slope
fixed at 1 its intercept is calibration in the large, with both free its slope tells whether scores are too extreme
(below 1) or too timid (above 1); together they are weak calibration (Van Calster et al. 2019, BMC Medicine 17:230).

How the estimates vary with the patients is told by each patient's influence (White 1982, Econometrica 50:1; cases of
one patient summed first: Liang and Zeger 1986, Biometrika 73:13) and not by drawing patients anew: where few bear a
finding, some draws can be parted without error, and then have no slope, so that the spread over draws says nothing.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit

COLDEST, HOTTEST = 0.01, 100.0
"""Temperatures outside are not looked for: what is best there, no temperature makes good."""


SURE = 1e-6
"""Below this much variance in all chances together there is none."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One coefficient of a recalibration, and what each patient adds to it."""

    value: float
    influence: np.ndarray
    """(patients,): the estimate's change per patient, in sum nothing."""


def in_the_large(target: np.ndarray, score: np.ndarray, patient: np.ndarray, *, patients: int) -> Fitted:
    """The intercept with the slope fixed at 1: 0 where as many findings are there as the scores promise.

    `target` 0 or 1, `score` log-odds, `patient` whose case it is: each (cases,). NaN without both classes.
    """
    share = target.mean() if len(target) else 0.0
    if not 0 < share < 1:
        return nothing(patients)
    # between these two the promised share rises from below the observed one to above it
    low, high = logit(share) - score.max(), logit(share) - score.min()

    def too_many(shift: float) -> float:
        return float(np.mean(expit(score + shift) - target))

    value = low if low == high else _root(too_many, low, high)
    chance = expit(score + value)
    unsure = np.sum(chance * (1 - chance))
    # where every score is certain no patient tells how the estimate would vary
    influence = (target - chance) / unsure if unsure > SURE else np.full(len(target), np.nan)
    return Fitted(value=value, influence=_by_patient(influence, patient, patients))


def slope(target: np.ndarray, score: np.ndarray, patient: np.ndarray, *, patients: int) -> Fitted:
    """The slope with the intercept free: 1 where scores are neither too extreme nor too timid.

    NaN where the scores part the classes, or are all the same: then no slope is the best (Albert and Anderson 1984,
    Biometrika 71:1).
    """
    if not overlapping(target, score):
        return nothing(patients)
    middle, spread = score.mean(), score.std()
    x = (score - middle) / spread
    bent = minimize(
        _loss, np.zeros(2), args=(x, target), jac=_gradient, hess=_curvature, method="trust-exact", tol=1e-10
    ).x
    chance = expit(bent[0] + bent[1] * x)
    inverse = np.linalg.inv(_curvature(bent, x, target) * len(x))
    influence = (inverse[1, 0] + inverse[1, 1] * x) * (target - chance) / spread
    return Fitted(value=float(bent[1] / spread), influence=_by_patient(influence, patient, patients))


def overlapping(target: np.ndarray, score: np.ndarray) -> bool:
    """Whether neither class lies wholly above the other, so that a slope exists."""
    with_finding, without = score[target == 1], score[target == 0]
    if not len(with_finding) or not len(without):
        return False
    return bool(with_finding.min() < without.max() and without.min() < with_finding.max())


def nothing(patients: int) -> Fitted:
    """What is said where there is no estimate."""
    return Fitted(value=np.nan, influence=np.full(patients, np.nan))


def covariance(influences: np.ndarray, *, patients: float = np.inf) -> np.ndarray:
    """The covariance of runs (runs, runs) under other patients, from their influences (runs, patients).

    Stretched by n / (n - 1) for n `patients` in the smaller class, as that of replicates is; NaN for fewer than two.
    """
    if patients < 2:
        return np.full((len(influences), len(influences)), np.nan)
    stretch = patients / (patients - 1) if patients < np.inf else 1.0
    # not by a matrix product, whose rounding would follow the number of threads
    return stretch * np.einsum("ip,jp->ij", influences, influences)


def temperature(target: np.ndarray, score: np.ndarray) -> float:
    """The one number that scores (cases,) are divided by so that their log loss is least (Guo et al. 2017, ICML).

    Of log-odds and targets 0 or 1, of all labels together; NaN without both classes. The loss has one lowest point,
    which is looked for between 0.01 and 100.
    """
    if not 0 < np.count_nonzero(target == 1) < len(target):
        return np.nan

    def steepness(cold: float) -> float:
        return float(np.mean(score * (expit(np.exp(cold) * score) - target)))

    low, high = -np.log(HOTTEST), -np.log(COLDEST)
    if steepness(low) >= 0:
        return HOTTEST
    if steepness(high) <= 0:
        return COLDEST
    return float(np.exp(-_root(steepness, low, high)))


def log_loss(target: np.ndarray, score: np.ndarray) -> float:
    """The mean log loss of log-odds (cases,)."""
    return float(np.mean(np.logaddexp(0, score) - target * score)) if len(target) else np.nan


def _root(rising, low: float, high: float) -> float:
    return float(brentq(rising, low, high, xtol=1e-12, rtol=1e-14, maxiter=1000))


def _by_patient(influence: np.ndarray, patient: np.ndarray, patients: int) -> np.ndarray:
    return np.bincount(patient, weights=influence, minlength=patients)


def _loss(bent: np.ndarray, x: np.ndarray, target: np.ndarray) -> float:
    return log_loss(target, bent[0] + bent[1] * x)


def _gradient(bent: np.ndarray, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    short = expit(bent[0] + bent[1] * x) - target
    return np.array([short.mean(), (short * x).mean()])


def _curvature(bent: np.ndarray, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    chance = expit(bent[0] + bent[1] * x)
    weight = chance * (1 - chance)
    zeroth, first, second = weight.mean(), (weight * x).mean(), (weight * x**2).mean()
    return np.array([[zeroth, first], [first, second]])
