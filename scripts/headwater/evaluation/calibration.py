"""Calibration: whether the scores of trained networks can be read as probabilities, raw or scaled by a temperature."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import expit

from headwater.data.tables import MACRO, NUMBER, TEXT, WHOLE, Table
from headwater.evaluation import eligibility, seed_groups
from headwater.evaluation.eligibility import Label
from headwater.evaluation.metrics import brier
from headwater.evaluation.seed_groups import COUNTED, RAW, SCALED, SHARE, Quantity, SeedGroup, columns_of, estimated
from headwater.evaluation.statistics import means, readers, recalibration, reliability
from headwater.evaluation.statistics.means import Summed

COEFFICIENTS = ("intercept", "slope")
"""The coefficients of a logistic recalibration."""

CALIBRATION = Table(
    name="calibration",
    columns={
        "dataset": TEXT,
        "fitted_to": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        # its name in the tested dataset, and in the dataset that the network was fitted to
        "label": TEXT,
        "asked": TEXT,
        "scores": TEXT,
        **estimated("intercept", "slope", "brier", "ratio"),
        **COUNTED,
    },
    keys=("fitted_to", "recipe", "source", "label", "asked", "scores"),
)
"""Calibration of scores; `scores`: raw, or scaled by temperature."""

RELIABILITY = Table(
    name="reliability",
    columns={
        "dataset": TEXT,
        "fitted_to": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "label": TEXT,
        "asked": TEXT,
        "scores": TEXT,
        "bin": WHOLE,
        "predicted": NUMBER,
        "observed": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "scored": WHOLE,
        "patients": WHOLE,
    },
    keys=("fitted_to", "recipe", "source", "label", "asked", "scores", "bin"),
)
"""Points of the reliability plots, with seeds pooled; equal scores are in one bin."""


def rows(group: SeedGroup) -> Iterator[dict]:
    """Intercept, slope, Brier score and expected / observed of each label and the macro: rows of `CALIBRATION`."""
    measured = [at for at, label in enumerate(group.labels) if label.measured]
    ratios = iter(group.ratios(_sums(group, measured)))
    quantities = {
        (at, kind): {name: _coefficient(group, at, kind, name) for name in COEFFICIENTS}
        | {"brier": next(ratios), "ratio": _logarithm(next(ratios))}
        for at in measured
        for kind in group.kinds(at)
    }
    tested = [at for at in measured if group.labels[at].tested]
    macro = eligibility.macro(group.networks[0].test, list(group.labels))
    for kind in (RAW, SCALED):
        # the macro is a mean over all tested labels or none: scaled and raw ones must not be averaged
        parts = [quantities[at, kind] for at in tested] if all(kind in group.kinds(at) for at in tested) else []
        of_macro = {name: seed_groups.mean([part[name] for part in parts]) for name in parts[0]} if parts else {}
        yield _row(group, macro, MACRO, kind, of_macro, positions=range(len(group.labels)))
        for at, label in enumerate(group.labels):
            yield _row(group, label, group.asked[at], kind, quantities.get((at, kind), {}), positions=[at])


def _sums(group: SeedGroup, measured: list[int]) -> Iterator[list[Summed]]:
    """For each label and kind of scores the sums of the Brier score, then those of expected / observed."""
    for at in measured:
        target, patient = group.target(at), group.patient[group.labels[at].known]
        patients = {"patients": group.patients}
        observed = means.summed(target, patient, **patients).total
        for kind in group.kinds(at):
            chances = [expit(score) for score in group.scores(at, kind)]
            yield [means.summed(brier.per_case(target, chance), patient, **patients) for chance in chances]
            expected = [means.summed(chance, patient, **patients).total for chance in chances]
            yield [Summed(total=total, cases=observed) for total in expected]


def _coefficient(group: SeedGroup, at: int, kind: str, name: str) -> Quantity:
    """One coefficient of the recalibration of a label for all seeds."""
    fit = {"intercept": recalibration.in_the_large, "slope": recalibration.slope}[name]
    patient = group.patient[group.labels[at].known]
    fits = [fit(group.target(at), score, patient, patients=group.patients) for score in group.scores(at, kind)]
    # influence functions instead of replicates: a resample in which the scores separate the classes has no slope
    influences = np.array([part.influence for part in fits])
    return Quantity(observed=np.array([part.value for part in fits]), varies=influences, replicated=False)


def _logarithm(quantity: Quantity) -> Quantity:
    """A ratio on the logarithmic scale, on which 2 and 1/2 are equally far from 1."""
    with np.errstate(divide="ignore"):
        return replace(quantity, observed=np.log(quantity.observed), varies=np.log(quantity.varies))


def _row(
    group: SeedGroup,
    label: Label,
    asked: str,
    kind: str,
    quantities: dict[str, Quantity],
    *,
    positions: Iterable[int],
) -> dict:
    """One row, of the labels at some positions; without quantities its numbers are NaN."""
    level, numbers = group.comparison.level, {}
    for name in (*COEFFICIENTS, "brier", "ratio"):
        estimate = quantities[name].estimate(label) if quantities else readers.UNKNOWN
        interval = estimate.interval_inside(level, bounds=SHARE) if name == "brier" else estimate.interval(level)
        columns = columns_of(name, estimate, interval)
        if name == "ratio":
            value = np.exp(estimate.value)
            columns = {key: np.exp(number) for key, number in columns.items()}
            # the delta method: the standard error of exp(x) is exp(x) times that of x
            columns["ratio_se"] = value * estimate.standard_error
        numbers |= columns
    without_slope = bool(quantities) and np.isnan(numbers["slope"]) and not np.isnan(numbers["intercept"])
    note = "no slope: the scores of a run part the classes, or are all the same" if without_slope else ""
    if not all(kind in group.kinds(at) for at in positions):
        note = "no temperature: one class only in the validation of a run"
    place = group.place | {"label": label.name, "asked": asked, "scores": kind}
    return place | numbers | group.counts(label, note)


def reliability_frame(groups: list[SeedGroup]) -> pd.DataFrame:
    """The points of the reliability plots of all groups: rows of `RELIABILITY`."""
    parts = [part for group in groups for part in _points(group)]
    return pd.concat(parts) if parts else RELIABILITY.frame([])


def _points(group: SeedGroup) -> Iterator[pd.DataFrame]:
    """The points of each label, and of all tested labels together."""
    measured = [at for at, label in enumerate(group.labels) if label.measured]
    tested = [at for at in measured if group.labels[at].tested]
    for name, asked, inside in [
        *([(MACRO, MACRO, tested)] if tested else []),
        *((group.labels[at].name, group.asked[at], [at]) for at in measured),
    ]:
        for kind in (kind for kind in (RAW, SCALED) if all(kind in group.kinds(at) for at in inside)):
            chance = np.concatenate([expit(score) for at in inside for score in group.scores(at, kind)])
            times = len(group.networks)
            target = np.concatenate([np.tile(group.target(at), times) for at in inside])
            patient = np.concatenate([np.tile(group.patient[group.labels[at].known], times) for at in inside])
            points = reliability.points(target, chance, patient, level=group.comparison.level)
            named = group.place | {"label": name, "asked": asked, "scores": kind}
            yield points.assign(**named, bin=np.arange(len(points)))
