"""Power: how large a difference between two sources must be before the patients and seeds at hand would show it.

What the analysis with seeds as readers will estimate is worked out beforehand, from who bears which finding and from
assumed scores: normal within each class, alike between runs, and alike between the cases of one patient.
"""

from dataclasses import dataclass

import numpy as np
from pydantic import Field, model_validator
from scipy import optimize, special, stats

from headwater.records import Record
from headwater.statistics import readers
from headwater.statistics.readers import Estimate


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


def expected(
    weights: Together, *, seeds: int, seed_spread: float, paired: bool, assumed: Assumed, patients: float = np.inf
) -> Estimate:
    """The estimate of a difference of 0 that the analysis with seeds as readers is expected to come to.

    `seed_spread` is the standard deviation of the AUROC over trainings, on endless cases; on these cases trainings
    also disagree about cases. Paired trainings are taken to go up and down independently, so that pairs gain nothing.
    One seed: the difference of two trained networks. `patients`: how many the smaller class has.
    """
    run, seed, source = (
        covariance(weights, correlation, assumed=assumed)
        for correlation in (1.0, assumed.seed_correlation, assumed.correlation)
    )
    if seeds == 1:
        return readers.combined(0.0, [], 2 * (run - source), seeds=1, patients=patients)
    of_source = (seed_spread**2 + run - seed) / seeds
    # nested seeds tell the noise of two sources, paired ones that of their difference
    of_seeds = [2 * of_source] if paired and seeds >= readers.FEWEST_PAIRED else [of_source, of_source]
    return readers.combined(0.0, of_seeds, 2 * (seed - source), seeds=seeds, patients=patients)


def found(difference: float, *, estimate: Estimate, level: float) -> float:
    """How likely a two-sided test at `level` is to reject, if the true difference is `difference`."""
    return _rejected(difference / estimate.standard_error, estimate.degrees_of_freedom, level)


def least_detectable(estimate: Estimate, *, level: float, power: float) -> float:
    """The smallest difference that a two-sided test at `level` finds with probability `power`."""
    df = estimate.degrees_of_freedom
    if df < 1:
        return np.inf
    most = 1.0
    while _rejected(most, df, level) < power:
        most *= 2
    return float(optimize.brentq(lambda far: _rejected(far, df, level) - power, 0, most)) * estimate.standard_error


def _rejected(far: float, df: float, level: float) -> float:
    """The chance that t lies outside its bounds, `far` standard errors from 0."""
    bound = stats.t.isf(level / 2, df)
    return float(stats.nct.sf(bound, df, far) + stats.nct.sf(bound, df, -far))
