"""Power: the smallest difference between two sources that a number of patients and seeds can detect.

The variances that the analysis with seeds as readers will estimate are computed in advance, from the patients with each
finding and from assumed scores: normal within each class, correlated between runs and between cases of one patient. Of
the Dice, a mean over cases, only the standard deviation over cases and the correlations matter.
"""

from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from pydantic import Field, model_validator
from scipy import optimize, special, stats

from headwater.core.records import Record
from headwater.evaluation.statistics import readers
from headwater.evaluation.statistics.readers import Estimate

POINTS = 14_000
"""Quadrature points for the distribution of the estimated variances; ten times as many change results by 0.1 %."""


class _Assumed(Record):
    """What is assumed of any measure of two sources before the first training."""

    correlation: float = Field(0.6, ge=0, lt=1)
    """Correlation of what two sources' networks give for a case: their scores within a class, or their Dice."""
    seed_correlation: float = Field(0.8, ge=0, le=1)
    """The same for two seeds of one source."""
    patient_share: float = Field(0.5, ge=0, le=1)
    """Share of the variance that is common to all cases and labels of a patient."""
    power: float = Field(0.8, gt=0.5, lt=1)
    """Probability of detecting the difference."""

    @model_validator(mode="after")
    def _seeds_are_more_alike(self) -> Self:
        if self.seed_correlation < self.correlation:
            raise ValueError("seed_correlation must be >= correlation, since seeds of one source are more alike")
        return self


class Assumed(_Assumed):
    """Assumptions about AUROC; the defaults are those of our simulations of this method."""

    auroc: float = Field(0.8, gt=0.5, lt=1)
    """AUROC of both sources."""

    @property
    def level(self) -> float:
        """The value of both sources."""
        return self.auroc


class AssumedDice(_Assumed):
    """Assumptions about the mean Dice of a structure over the cases that have it.

    The defaults are close to two U-Nets from different random weights on the 52 test cases of the Decathlon's
    hippocampus, 400 steps each: standard deviations over cases of 0.028 to 0.035, correlations between both of 0.85 and
    0.91, and between the two structures of a case of 0.61 and 0.71. No second source was measured.
    """

    dice: float = Field(0.85, gt=0, lt=1)
    """Mean Dice of both sources."""
    case_spread: float = Field(0.035, gt=0, lt=0.5)
    """Standard deviation of the Dice over the cases."""
    correlation: float = Field(0.7, ge=0, lt=1)
    """Correlation of the Dice of two sources' networks for a case."""
    seed_correlation: float = Field(0.85, ge=0, le=1)
    """The same for two seeds of one source."""
    patient_share: float = Field(0.6, ge=0, le=1)
    """Share of the variance that is common to all cases and structures of a patient."""

    @property
    def level(self) -> float:
        """The value of both sources."""
        return self.dice


@dataclass(frozen=True, kw_only=True)
class Together:
    """Weights of pairs of cases in the variance of an AUROC, or of a mean of AUROCs over labels."""

    same: float
    """A case with itself, for one label."""
    alike: float
    """Two cases of a patient, or two labels, both positive or both negative."""
    opposite: float
    """Two cases of a patient, or two labels, one positive and one negative."""


def together(positives: np.ndarray, negatives: np.ndarray) -> Together:
    """The weights of pairs of cases in a test set, from each patient's numbers of cases: both (labels, patients)."""
    of_positive, of_negative = (count / count.sum(axis=1, keepdims=True) for count in (positives, negatives))
    labels = len(positives)
    both = np.stack([of_positive.sum(axis=0), of_negative.sum(axis=0)]) / labels
    same = float((1 / positives.sum(axis=1) + 1 / negatives.sum(axis=1)).sum()) / labels**2
    return Together(same=same, alike=float((both**2).sum()) - same, opposite=2 * float(both.prod(axis=0).sum()))


def together_of_means(cases: np.ndarray) -> Together:
    """The same in the variance of a mean over cases, or of a mean of such means: from (labels, patients) of cases."""
    each = cases / cases.sum(axis=1, keepdims=True) / len(cases)
    same = float((1 / cases.sum(axis=1)).sum()) / len(cases) ** 2
    return Together(same=same, alike=float((each.sum(axis=0) ** 2).sum()) - same, opposite=0.0)


def covariance(weights: Together, correlation: float, *, assumed: Assumed | AssumedDice) -> float:
    """The covariance over samples of patients of the AUROCs, or mean Dice, of two runs.

    `correlation` is that of the scores, or of the Dice, that both have for a case.
    """
    patients = correlation * assumed.patient_share
    if isinstance(assumed, AssumedDice):
        return assumed.case_spread**2 * (weights.same * correlation + weights.alike * patients)
    return (
        weights.same * _component(assumed.auroc, correlation)
        + weights.alike * _component(assumed.auroc, patients)
        + weights.opposite * _component(assumed.auroc, -patients)
    )


def _component(auroc: float, correlation: float) -> float:
    """The covariance of DeLong's components of two cases of one class, given the correlation of their scores.

    A component is the probability of a higher score than a random case of the other class; both hold with the bivariate
    normal probability at half the correlation, which Owen's T gives. For cases of two classes the correlation is
    negated.
    """
    threshold = stats.norm.ppf(auroc)
    both = auroc - 2 * special.owens_t(threshold, np.sqrt((1 - correlation / 2) / (1 + correlation / 2)))
    return float(both - auroc**2)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The expected variance components of a difference in the analysis with seeds as readers."""

    of_seeds: tuple[float, ...]
    """Variance of the mean over seeds: of each source for nested seeds, of their difference for paired ones."""
    of_patients: float
    """Variance over patients that all seeds share."""
    seeds: int
    patients: float
    """Patients in the smaller class."""
    most: float = np.inf
    """Limit of the degrees of freedom, for findings of few patients."""

    @property
    def estimate(self) -> Estimate:
        """The estimate of a difference of 0 with the expected variances."""
        zero = readers.combined(0.0, list(self.of_seeds), self.of_patients, seeds=self.seeds, patients=self.patients)
        return zero.cautious(self.most)


def expected(
    weights: Together,
    *,
    seeds: int,
    seed_spread: float,
    paired: bool,
    assumed: Assumed | AssumedDice,
    patients: float = np.inf,
    most: float = np.inf,
) -> Expected:
    """The expected variance components for two sources with so many seeds each.

    `seed_spread` is the standard deviation of the AUROC or Dice over trainings for infinitely many cases; on a finite
    test set trainings also differ in their errors on single cases. Paired trainings are assumed uncorrelated, so that
    pairing brings no gain. With one seed it is the difference of two trained networks. `patients`: those in the
    smaller class.
    """
    run, seed, source = (
        covariance(weights, correlation, assumed=assumed)
        for correlation in (1.0, assumed.seed_correlation, assumed.correlation)
    )
    if seeds == 1:
        return Expected(of_seeds=(), of_patients=2 * (run - source), seeds=1, patients=patients, most=most)
    # run - seed is the variance over trainings that is due to the finite test set
    of_source = (seed_spread**2 + run - seed) / seeds
    in_pairs = paired and seeds >= readers.FEWEST_PAIRED
    of_seeds = (2 * of_source,) if in_pairs else (of_source, of_source)
    return Expected(of_seeds=of_seeds, of_patients=2 * (seed - source), seeds=seeds, patients=patients, most=most)


def found(difference: float, *, planned: Expected, level: float) -> float:
    """The power of a two-sided test at `level` if the true difference is `difference`."""
    weights, bounds = _bounds(planned, level)
    return _rejected(difference / planned.estimate.standard_error, weights, bounds)


def least_detectable(planned: Expected, *, level: float, power: float) -> float:
    """The smallest difference that a two-sided test at `level` detects with probability `power`; infinite if none."""
    if planned.most < 1:
        return np.inf
    weights, bounds = _bounds(planned, level)
    # doubled until it brackets the solution for the root search
    upper = 1.0
    while _rejected(upper, weights, bounds) < power:
        upper *= 2
    distance = optimize.brentq(lambda distance: _rejected(distance, weights, bounds) - power, 0, upper)
    return float(distance) * planned.estimate.standard_error


def _bounds(planned: Expected, level: float) -> tuple[np.ndarray, np.ndarray]:
    """(weights, critical differences in true standard errors) over the distribution of the estimated variances.

    The test uses estimated variances: each is chi-squared distributed with its degrees of freedom, and the degrees of
    freedom of t depend on them. With a single variance this is the noncentral t; for two seeds that is too optimistic.
    """
    parts = [(part, planned.seeds - 1) for part in planned.of_seeds] + [(planned.of_patients, planned.patients - 1)]
    # the product grid of the quadratures of all variances, one axis at a time
    variance, noise, weights = np.zeros(1), np.zeros(1), np.ones(1)
    for part, df in parts:
        weight, estimated = _estimated(part, df, points=min(100, round(POINTS ** (1 / len(parts)))))
        variance = np.add.outer(variance, estimated).ravel()
        noise = np.add.outer(noise, estimated**2 / df if df > 0 else 0 * estimated).ravel()
        weights = np.multiply.outer(weights, weight).ravel()
    # Satterthwaite's degrees of freedom, as in `readers.combined`
    df = np.divide(variance**2, noise, out=np.full_like(variance, np.inf), where=noise > 0)
    bound = stats.t.isf(level / 2, np.minimum(df, planned.most))
    return weights, bound * np.sqrt(variance) / planned.estimate.standard_error


def _estimated(part: float, df: float, *, points: int) -> tuple[np.ndarray, np.ndarray]:
    """(weights, values) of the estimates of a variance: Gauss-Legendre quadrature over its quantiles."""
    if part == 0 or not 0 < df < np.inf:
        return np.ones(1), np.array([part])
    nodes, weights = _nodes(points)
    return weights / 2, part * stats.chi2.ppf((nodes + 1) / 2, df) / df


_nodes = cache(np.polynomial.legendre.leggauss)


def _rejected(distance: float, weights: np.ndarray, bounds: np.ndarray) -> float:
    """The probability of a significant result for a true difference of `distance` true standard errors."""
    return float(weights @ (stats.norm.sf(bounds - distance) + stats.norm.sf(bounds + distance)))
