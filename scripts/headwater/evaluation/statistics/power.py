"""Power: how large a difference between two sources must be before the patients and seeds at hand would show it.

What the analysis with seeds as readers will estimate is worked out beforehand, from who bears which finding and from
assumed scores: normal within each class, alike between runs, and alike between the cases of one patient.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from pydantic import Field, model_validator
from scipy import optimize, special, stats

from headwater.core.records import Record
from headwater.evaluation.statistics import readers
from headwater.evaluation.statistics.readers import Estimate

POINTS = 14_000
"""At how many points the distribution of estimated variances is looked at; ten times as many change a thousandth."""


class Assumed(Record):
    """What is not known before the first training; the defaults are those of this method's own simulations."""

    auroc: float = Field(0.8, gt=0.5, lt=1)
    """Of both sources."""
    correlation: float = Field(0.6, ge=0, lt=1)
    """Of the scores that networks of two sources give one case, among cases that bear the finding or do not."""
    seed_correlation: float = Field(0.8, ge=0, le=1)
    """The same for two seeds of one source."""
    patient_share: float = Field(0.5, ge=0, le=1)
    """Share of a score's variance that all cases of a patient, and all findings in them, have together."""
    power: float = Field(0.8, gt=0.5, lt=1)
    """How likely the difference is to be found."""

    @model_validator(mode="after")
    def _seeds_are_more_alike(self) -> "Assumed":
        if self.seed_correlation < self.correlation:
            raise ValueError("seed_correlation must not be below correlation: seeds of one source are more alike")
        return self


@dataclass(frozen=True, kw_only=True)
class Together:
    """How much weight pairs of cases have in the variance of an area, or of a mean of areas over labels."""

    same: float
    """A case with itself, for one label."""
    alike: float
    """Two cases of a patient, or two labels, both positive or both negative."""
    opposite: float
    """The same where one is positive and the other negative."""


def together(positives: np.ndarray, negatives: np.ndarray) -> Together:
    """The weights of pairs of cases in a test set, from each patient's numbers of cases: both (labels, patients)."""
    of_positive, of_negative = (count / count.sum(axis=1, keepdims=True) for count in (positives, negatives))
    labels = len(positives)
    both = np.stack([of_positive.sum(axis=0), of_negative.sum(axis=0)]) / labels
    same = float((1 / positives.sum(axis=1) + 1 / negatives.sum(axis=1)).sum()) / labels**2
    return Together(same=same, alike=float((both**2).sum()) - same, opposite=2 * float(both.prod(axis=0).sum()))


def covariance(weights: Together, correlation: float, *, assumed: Assumed) -> float:
    """The covariance, over other patients, of the areas of two runs whose scores of one case correlate so much."""
    patients = correlation * assumed.patient_share
    return (
        weights.same * _component(assumed.auroc, correlation)
        + weights.alike * _component(assumed.auroc, patients)
        + weights.opposite * _component(assumed.auroc, -patients)
    )


def _component(auroc: float, correlation: float) -> float:
    """The covariance of DeLong's components of two cases of one class whose scores correlate so much.

    Each is the chance to win against a case drawn anew, so both win with the bivariate normal probability at half the
    correlation; Owen's T gives it. Of two classes it is that of the negative correlation.
    """
    threshold = stats.norm.ppf(auroc)
    both = auroc - 2 * special.owens_t(threshold, np.sqrt((1 - correlation / 2) / (1 + correlation / 2)))
    return float(both - auroc**2)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The variances of a difference that the analysis with seeds as readers is to estimate, and from how much."""

    of_seeds: tuple[float, ...]
    """Of the mean over seeds: of each source where seeds are nested, of their difference where they are paired."""
    of_patients: float
    """What all seeds share."""
    seeds: int
    patients: float
    """How many the smaller class has."""
    most: float = np.inf
    """Degrees of freedom at most, for findings of few patients."""

    @property
    def estimate(self) -> Estimate:
        """The estimate of a difference of 0 if every variance comes out as expected."""
        found = readers.combined(0.0, list(self.of_seeds), self.of_patients, seeds=self.seeds, patients=self.patients)
        return found.cautious(self.most)


def expected(
    weights: Together,
    *,
    seeds: int,
    seed_spread: float,
    paired: bool,
    assumed: Assumed,
    patients: float = np.inf,
    most: float = np.inf,
) -> Expected:
    """What the analysis of two sources with so many seeds each is to estimate.

    `seed_spread` is the standard deviation of the AUROC over trainings, on endless cases; on these cases trainings
    also disagree about cases. Paired trainings are taken to go up and down independently, so that pairs gain nothing.
    One seed: the difference of two trained networks. `patients`: how many the smaller class has.
    """
    run, seed, source = (
        covariance(weights, correlation, assumed=assumed)
        for correlation in (1.0, assumed.seed_correlation, assumed.correlation)
    )
    if seeds == 1:
        return Expected(of_seeds=(), of_patients=2 * (run - source), seeds=1, patients=patients, most=most)
    of_source = (seed_spread**2 + run - seed) / seeds
    in_pairs = paired and seeds >= readers.FEWEST_PAIRED
    of_seeds = (2 * of_source,) if in_pairs else (of_source, of_source)
    return Expected(of_seeds=of_seeds, of_patients=2 * (seed - source), seeds=seeds, patients=patients, most=most)


def found(difference: float, *, planned: Expected, level: float) -> float:
    """How likely a two-sided test at `level` is to reject, if the true difference is `difference`."""
    chances, bounds = _bounds(planned, level)
    return _rejected(difference / planned.estimate.standard_error, chances, bounds)


def least_detectable(planned: Expected, *, level: float, power: float) -> float:
    """The smallest difference that a two-sided test at `level` finds with probability `power`; infinite if none is."""
    if planned.most < 1:
        return np.inf
    chances, bounds = _bounds(planned, level)
    most = 1.0
    while _rejected(most, chances, bounds) < power:
        most *= 2
    far = optimize.brentq(lambda far: _rejected(far, chances, bounds) - power, 0, most)
    return float(far) * planned.estimate.standard_error


def _bounds(planned: Expected, level: float) -> tuple[np.ndarray, np.ndarray]:
    """How far from 0 a difference is significant, in its true standard errors, and how likely each distance is.

    The test judges by variances that it estimates: each comes out as chi-squared with its degrees of freedom, and
    those of t with it. With one variance alone this is the noncentral t; two seeds need more than that says.
    """
    parts = [(part, planned.seeds - 1) for part in planned.of_seeds] + [(planned.of_patients, planned.patients - 1)]
    variance, noise, chances = np.zeros(1), np.zeros(1), np.ones(1)
    for part, df in parts:
        chance, estimated = _estimated(part, df, points=min(100, round(POINTS ** (1 / len(parts)))))
        variance = np.add.outer(variance, estimated).ravel()
        noise = np.add.outer(noise, estimated**2 / df if df > 0 else 0 * estimated).ravel()
        chances = np.multiply.outer(chances, chance).ravel()
    df = np.divide(variance**2, noise, out=np.full_like(variance, np.inf), where=noise > 0)
    bound = stats.t.isf(level / 2, np.minimum(df, planned.most))
    return chances, bound * np.sqrt(variance) / planned.estimate.standard_error


def _estimated(part: float, df: float, *, points: int) -> tuple[np.ndarray, np.ndarray]:
    """What a variance may be estimated as, and how likely that is."""
    if part == 0 or not 0 < df < np.inf:
        return np.ones(1), np.array([part])
    places, chances = _places(points)
    return chances / 2, part * stats.chi2.ppf((places + 1) / 2, df) / df


_places = cache(np.polynomial.legendre.leggauss)


def _rejected(far: float, chances: np.ndarray, bounds: np.ndarray) -> float:
    """The chance that a difference, `far` true standard errors from 0, comes out beyond the bounds."""
    return float(chances @ (stats.norm.sf(bounds - far) + stats.norm.sf(bounds + far)))
