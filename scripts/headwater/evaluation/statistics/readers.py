"""Readers: training seeds seen as the readers of a multi-reader multi-case study, so that claims reach beyond one run.

A difference between two sources is to hold for new patients and for new trainings. Radiology has asked this for
decades of devices, readers and cases: the method of Obuchowski and Rockette (1995, Comm. Stat. Simul. 24:285) with
the degrees of freedom of Hillis (2007, Stat. Med. 26:596), here with covariances from a bootstrap of the patients.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

FEWEST_PAIRED = 3
"""With fewer seeds, pairs are analysed as nested: one degree of freedom makes up to twice as many false claims."""


@dataclass(frozen=True)
class Estimate:
    """A value or a difference with its uncertainty."""

    value: float
    variance: float
    degrees_of_freedom: float
    """Of Student's t; infinite where no training noise is estimated."""
    as_they_are: "Estimate | None" = None
    """The same for these very trainings. Other trainings only add doubt, so the more doubtful of the two is told: few
    seeds that happen to agree, or patients whose share is estimated as negative, must not look like certainty."""

    @property
    def standard_error(self) -> float:
        """The standard error."""
        return float(np.sqrt(np.max([one.variance for one in self._both])))

    @property
    def constant(self) -> bool:
        """Whether nothing varies, so that there is no t to judge the value by; not so where the variance is unknown."""
        return all(one.variance == 0 for one in self._both)

    @property
    def _both(self) -> "list[Estimate]":
        return [self] if self.as_they_are is None else [self, self.as_they_are]

    def cautious(self, most: float) -> "Estimate":
        """The same with at most so many degrees of freedom."""
        return replace(self, degrees_of_freedom=min(self.degrees_of_freedom, most))

    def above(self, bound: float) -> "Estimate":
        """How far the value lies above a bound."""
        inner = self.as_they_are and self.as_they_are.above(bound)
        return replace(self, value=self.value - bound, as_they_are=inner)

    def mirrored(self) -> "Estimate":
        """The same with its sign turned."""
        inner = self.as_they_are and self.as_they_are.mirrored()
        return replace(self, value=-self.value, as_they_are=inner)

    def interval(self, level: float) -> tuple[float, float]:
        """The interval that covers 1 - `level`."""
        reach = self._reach(level)
        return float(self.value - reach), float(self.value + reach)

    def interval_inside(self, level: float, *, bounds: tuple[float, float]) -> tuple[float, float]:
        """The interval that covers 1 - `level` and stays between finite bounds: made on the logit scale."""
        lowest, highest = bounds
        if not (np.isfinite(highest - lowest) and lowest < self.value < highest):
            return self.interval(level)
        share = (self.value - lowest) / (highest - lowest)
        reach = self._reach(level) / (highest - lowest) / (share * (1 - share))
        inside = 1 / (1 + np.exp(-(np.log(share / (1 - share)) + np.array([-reach, reach]))))
        low, high = lowest + (highest - lowest) * inside
        return float(low), float(high)

    def p(self) -> float:
        """The two-sided p of a value of 0; 1 if it is exactly 0, NaN if nothing varies and it is not."""
        return 1.0 if self.value == 0 else 2 * self._beyond(abs(self.value))

    def p_above(self, bound: float) -> float:
        """The one-sided p of a value of at most `bound`; NaN if nothing varies."""
        return self._beyond(self.value - bound)

    def _beyond(self, distance: float) -> float:
        return max((one._tail(distance) for one in self._both if one.variance > 0), default=np.nan)

    def _tail(self, distance: float) -> float:
        return float(stats.t.sf(distance / np.sqrt(self.variance), self.degrees_of_freedom))

    def _reach(self, level: float) -> float:
        quantiles = [stats.t.ppf(1 - level / 2, one.degrees_of_freedom) for one in self._both]
        return float(np.max([q * np.sqrt(one.variance) for q, one in zip(quantiles, self._both, strict=True)]))


UNKNOWN = Estimate(np.nan, np.nan, np.nan)


def of_source(values: np.ndarray, covariance: np.ndarray, *, patients: float = np.inf) -> Estimate:
    """The mean over a source's seeds: from values (S,) and their covariance under other patients (S, S).

    V = s^2 / S + max(0, Cov2), df = V^2 / ((s^2 / S)^2 / (S - 1) + Cov2^2 / (n - 1)), with n `patients` in the smaller
    class; Hillis takes them as endless, which with fewer than a hundred claims too much. One seed: V = Var. Several: no
    more certain than these trainings as they are, V = (Var + (S - 1) Cov2) / S.
    """
    seeds = len(values)
    these = combined(values.mean(), [], covariance.sum() / seeds**2, seeds=seeds, patients=patients)
    if seeds == 1:
        return these
    of_seeds = [values.var(ddof=1) / seeds]
    estimate = combined(values.mean(), of_seeds, _between(covariance), seeds=seeds, patients=patients)
    return replace(estimate, as_they_are=these)


def of_difference(
    one: np.ndarray, other: np.ndarray, covariance: np.ndarray, *, paired: bool, patients: float = np.inf
) -> Estimate:
    """The difference between two sources' means over S seeds each, from the covariance of all runs (2 S, 2 S).

    Nested seeds: V = s_1^2 / S + s_2^2 / S + max(0, Cov2_1 + Cov2_2 - 2 Cov3), and df as for one source, a term each.
    Paired seeds: the same of the S differences, which is the fully crossed design of Obuchowski and Rockette.
    """
    seeds = len(one)
    first, second, across = covariance[:seeds, :seeds], covariance[seeds:, seeds:], covariance[:seeds, seeds:]
    value = float(one.mean() - other.mean())
    of_pairs = of_source(one - other, first + second - across - across.T, patients=patients)
    these = replace(of_pairs.as_they_are or of_pairs, value=value)
    if seeds == 1:
        return these
    if paired and seeds >= FEWEST_PAIRED:
        return replace(of_pairs, value=value, as_they_are=these)
    of_seeds = [part.var(ddof=1) / seeds for part in (one, other)]
    of_patients = _between(first) + _between(second) - 2 * across.mean()
    estimate = combined(value, of_seeds, of_patients, seeds=seeds, patients=patients)
    return replace(estimate, as_they_are=these)


def _between(covariance: np.ndarray) -> float:
    """The mean covariance of two different runs (Cov2)."""
    seeds = len(covariance)
    return float((covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1)))


def combined(value: float, of_seeds: list[float], of_patients: float, *, seeds: int, patients: float) -> Estimate:
    """An estimate from the variances of its seed means and the variance that all seeds share (Satterthwaite's df)."""
    shared = np.maximum(0.0, of_patients)  # what is unknown stays so
    variance = sum(of_seeds) + shared
    noise = sum(part**2 / (seeds - 1) for part in of_seeds)
    noise += shared**2 / (patients - 1) if patients > 1 else 0.0
    return Estimate(float(value), float(variance), np.inf if noise == 0 else float(variance**2 / noise))


def covariance(replicates: np.ndarray, *, patients: float = np.inf) -> np.ndarray:
    """The covariance of runs (runs, runs) over their bootstrap replicates (runs, resamples).

    Stretched by n / (n - 1) for n `patients` in the smaller class, since a resample of n varies by (n - 1) / n. A
    replicate in which one of them is undefined is dropped for all of them; NaN if fewer than two replicates or patients
    are left.
    """
    defined = replicates[:, ~np.isnan(replicates).any(axis=0)]
    if defined.shape[1] < 2 or patients < 2:
        return np.full((len(replicates), len(replicates)), np.nan)
    apart = defined - defined[:, :1]  # what never varies varies by nothing, not by a rounding error
    apart -= apart.mean(axis=1, keepdims=True)
    # not by a matrix product, whose rounding would follow the number of threads
    stretch = patients / (patients - 1) if patients < np.inf else 1.0
    return stretch * np.einsum("ib,jb->ij", apart, apart) / (defined.shape[1] - 1)


def standardised(one: np.ndarray, other: np.ndarray) -> float:
    """The difference of two means in standard deviations of one training; NaN where seeds do not vary."""
    spread = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2) if len(one) > 1 else 0.0
    return float((one.mean() - other.mean()) / spread) if spread > 0 else np.nan


def superiority(one: np.ndarray, other: np.ndarray) -> float:
    """The share of pairs of trainings in which the first value is the higher; equal ones count half.

    rliable's probability of improvement (Agarwal et al. 2021, NeurIPS, section 4.3).
    """
    return float((np.sign(one[:, None] - other[None, :]).mean() + 1) / 2)
