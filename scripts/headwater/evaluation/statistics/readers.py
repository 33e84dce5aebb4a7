"""Readers: training seeds as the readers of a multi-reader multi-case study, to generalise beyond single trainings.

A difference between two sources should hold for new patients and for new trainings, as one between devices should hold
for new cases and new readers: the method of Obuchowski and Rockette (1995, Comm. Stat. Simul. 24:285) with the degrees
of freedom of Hillis (2007, Stat. Med. 26:596), here with covariances from a bootstrap of the patients.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

FEWEST_PAIRED = 3
"""With fewer seeds, pairs are analysed as nested: with one degree of freedom the type I error is up to doubled."""


@dataclass(frozen=True)
class Estimate:
    """A value or a difference with its uncertainty."""

    value: float
    variance: float
    degrees_of_freedom: float
    """Degrees of freedom of Student's t; infinite without an estimate of training noise."""
    as_they_are: "Estimate | None" = None
    """The same with these trainings as fixed. New trainings can only add variance, so the larger uncertainty of the two
    is used: a few seeds that agree by chance, or a negative estimate of a variance component, must not look certain."""

    @property
    def standard_error(self) -> float:
        """The standard error, the larger of both."""
        # np.max, unlike max, keeps NaN
        return float(np.sqrt(np.max([estimate.variance for estimate in self._both])))

    @property
    def constant(self) -> bool:
        """Whether the variance is 0, so that there is no t; false if the variance is unknown (NaN)."""
        return all(estimate.variance == 0 for estimate in self._both)

    @property
    def _both(self) -> "list[Estimate]":
        """This estimate and that with the trainings as fixed, if it has one."""
        return [self] if self.as_they_are is None else [self, self.as_they_are]

    def cautious(self, most: float) -> "Estimate":
        """The same with limited degrees of freedom."""
        return replace(self, degrees_of_freedom=min(self.degrees_of_freedom, most))

    def described(self) -> "Estimate":
        """The value alone, without any uncertainty: for so few patients neither its size nor its shape is known."""
        return Estimate(self.value, np.nan, np.nan)

    def above(self, bound: float) -> "Estimate":
        """The estimate of the value minus a bound."""
        inner = self.as_they_are and self.as_they_are.above(bound)
        return replace(self, value=self.value - bound, as_they_are=inner)

    def mirrored(self) -> "Estimate":
        """The estimate of the negative value."""
        inner = self.as_they_are and self.as_they_are.mirrored()
        return replace(self, value=-self.value, as_they_are=inner)

    def interval(self, level: float) -> tuple[float, float]:
        """The confidence interval at 1 - `level`."""
        reach = self._reach(level)
        return float(self.value - reach), float(self.value + reach)

    def interval_inside(self, level: float, *, bounds: tuple[float, float]) -> tuple[float, float]:
        """The confidence interval at 1 - `level` within bounds, computed on the logit scale if both are finite."""
        lowest, highest = bounds
        if not (np.isfinite(highest - lowest) and lowest < self.value < highest):
            low, high = np.clip(self.interval(level), lowest, highest)
            return float(low), float(high)
        share = (self.value - lowest) / (highest - lowest)
        # the delta method: the derivative of the logit at `share` is 1 / (share (1 - share))
        reach = self._reach(level) / (highest - lowest) / (share * (1 - share))
        inside = 1 / (1 + np.exp(-(np.log(share / (1 - share)) + np.array([-reach, reach]))))
        low, high = lowest + (highest - lowest) * inside
        return float(low), float(high)

    def interval_of_difference(self, level: float, *, bounds: tuple[float, float]) -> tuple[float, float]:
        """The confidence interval at 1 - `level` of a difference of two values that lie within bounds.

        It ends where no difference can be, which takes nothing from its coverage.
        """
        largest = bounds[1] - bounds[0]
        low, high = np.clip(self.interval(level), -largest, largest)
        return float(low), float(high)

    def p(self) -> float:
        """The two-sided p of the null hypothesis 0; 1 if the value is exactly 0, else NaN if its variance is 0."""
        return 1.0 if self.value == 0 else 2 * self._beyond(abs(self.value))

    def p_above(self, bound: float) -> float:
        """The one-sided p of the null hypothesis that the true value is at most `bound`; NaN if its variance is 0."""
        return self._beyond(self.value - bound)

    def _beyond(self, distance: float) -> float:
        """The larger tail probability of both estimates."""
        return max((estimate._tail(distance) for estimate in self._both if estimate.variance > 0), default=np.nan)

    def _tail(self, distance: float) -> float:
        """The probability that t exceeds a distance."""
        return float(stats.t.sf(distance / np.sqrt(self.variance), self.degrees_of_freedom))

    def _reach(self, level: float) -> float:
        """Half the width of the interval, the larger of both."""
        quantiles = [stats.t.ppf(1 - level / 2, estimate.degrees_of_freedom) for estimate in self._both]
        errors = [np.sqrt(estimate.variance) for estimate in self._both]
        return float(np.max([quantile * error for quantile, error in zip(quantiles, errors, strict=True)]))


UNKNOWN = Estimate(np.nan, np.nan, np.nan)


def of_source(values: np.ndarray, covariance: np.ndarray, *, patients: float = np.inf) -> Estimate:
    """The mean over a source's seeds, from values (S,) and their covariance over samples of patients (S, S).

    V = s^2 / S + max(0, Cov2), df = V^2 / ((s^2 / S)^2 / (S - 1) + Cov2^2 / (n - 1)), with n `patients` in the smaller
    class; Hillis takes n as infinite, which is too liberal below about a hundred. One seed: V = Var. Several: at least
    the variance of these trainings as fixed, V = (Var + (S - 1) Cov2) / S.
    """
    seeds = len(values)
    these = combined(values.mean(), [], covariance.sum() / seeds**2, seeds=seeds, patients=patients)
    if seeds == 1:
        return these
    of_seeds = [values.var(ddof=1) / seeds]
    estimate = combined(values.mean(), of_seeds, _between(covariance), seeds=seeds, patients=patients)
    return replace(estimate, as_they_are=these)


def of_difference(
    values: np.ndarray, others: np.ndarray, covariance: np.ndarray, *, paired: bool, patients: float = np.inf
) -> Estimate:
    """The difference between two sources' means over S seeds each, from the covariance of all runs (2 S, 2 S).

    Nested seeds: V = s_1^2 / S + s_2^2 / S + max(0, Cov2_1 + Cov2_2 - 2 Cov3), with a term of each in df as for one
    source. Paired seeds: the formulas of one source for the S differences, which is the fully crossed design of
    Obuchowski and Rockette.
    """
    seeds = len(values)
    first, second, across = covariance[:seeds, :seeds], covariance[seeds:, seeds:], covariance[:seeds, seeds:]
    value = float(values.mean() - others.mean())
    of_pairs = of_source(values - others, first + second - across - across.T, patients=patients)
    these = replace(of_pairs.as_they_are or of_pairs, value=value)
    if seeds == 1:
        return these
    if paired and seeds >= FEWEST_PAIRED:
        return replace(of_pairs, value=value, as_they_are=these)
    of_seeds = [part.var(ddof=1) / seeds for part in (values, others)]
    of_patients = _between(first) + _between(second) - 2 * across.mean()
    estimate = combined(value, of_seeds, of_patients, seeds=seeds, patients=patients)
    return replace(estimate, as_they_are=these)


def _between(covariance: np.ndarray) -> float:
    """The mean covariance of two different runs (Cov2)."""
    seeds = len(covariance)
    return float((covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1)))


def combined(value: float, of_seeds: list[float], of_patients: float, *, seeds: int, patients: float) -> Estimate:
    """An estimate from the variances of its seed means and the variance that all seeds share (Satterthwaite's df)."""
    shared = np.maximum(0.0, of_patients)  # np.maximum, unlike max, keeps NaN
    variance = sum(of_seeds) + shared
    noise = sum(part**2 / (seeds - 1) for part in of_seeds)
    noise += shared**2 / (patients - 1) if patients > 1 else 0.0
    return Estimate(float(value), float(variance), np.inf if noise == 0 else float(variance**2 / noise))


def covariance(replicates: np.ndarray, *, patients: float = np.inf) -> np.ndarray:
    """The covariance of runs (runs, runs) over their bootstrap replicates (runs, resamples).

    Multiplied by n / (n - 1) for n `patients` in the smaller class, as a resample of n has (n - 1) / n of the variance.
    A replicate in which one run is undefined is dropped for all runs; NaN with fewer than two replicates or patients.
    """
    defined = replicates[:, ~np.isnan(replicates).any(axis=0)]
    if defined.shape[1] < 2 or patients < 2:
        return np.full((len(replicates), len(replicates)), np.nan)
    # relative to the first replicate, so that constant values have a variance of exactly 0, without a rounding error
    centred = defined - defined[:, :1]
    centred -= centred.mean(axis=1, keepdims=True)
    # not by a matrix product, whose rounding depends on the number of threads
    unbiased = patients / (patients - 1) if patients < np.inf else 1.0
    return unbiased * np.einsum("ib,jb->ij", centred, centred) / (defined.shape[1] - 1)


def standardised(values: np.ndarray, others: np.ndarray) -> float:
    """The difference of two means in standard deviations over trainings; NaN if seeds do not vary."""
    spread = np.sqrt((values.var(ddof=1) + others.var(ddof=1)) / 2) if len(values) > 1 else 0.0
    return float((values.mean() - others.mean()) / spread) if spread > 0 else np.nan


def superiority(values: np.ndarray, others: np.ndarray) -> float:
    """The share of pairs of trainings in which the first value is higher; equal ones count half.

    rliable's probability of improvement (Agarwal et al. 2021, NeurIPS, section 4.3).
    """
    return float((np.sign(values[:, None] - others[None, :]).mean() + 1) / 2)
