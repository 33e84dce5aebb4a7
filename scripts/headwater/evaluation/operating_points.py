"""Operating points: sensitivity, specificity and predictive values on test, at thresholds set on validation."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.stats import binomtest

from headwater.data.tables import MACRO, NUMBER, TEXT, Table
from headwater.evaluation import eligibility, seed_groups
from headwater.evaluation.eligibility import Label
from headwater.evaluation.seed_groups import COUNTED, RAW, SHARE, Quantity, SeedGroup, columns_of, estimated
from headwater.evaluation.statistics import means, operating, readers
from headwater.evaluation.statistics.means import Summed
from headwater.evaluation.statistics.readers import Estimate

RATES = ("sensitivity", "specificity", "ppv", "npv")
"""The rates of an operating point."""

THRESHOLDS = Table(
    name="thresholds",
    columns={
        "dataset": TEXT,
        "fitted_to": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "label": TEXT,
        "asked": TEXT,
        "asked_specificity": NUMBER,
        # the mean over seeds, the lowest and the highest
        "threshold": NUMBER,
        "threshold_low": NUMBER,
        "threshold_high": NUMBER,
        **estimated("sensitivity", "specificity", "ppv", "npv"),
        **COUNTED,
    },
    keys=("fitted_to", "recipe", "source", "label", "asked"),
)
"""Rates on the test split at the thresholds of the validation split."""


def rows(group: SeedGroup) -> Iterator[dict]:
    """The rates of each label and the macro on the test split: rows of `THRESHOLDS`."""
    labels = [_with_threshold(group, at) for at in range(len(group.labels))]
    measured = [at for at, label in enumerate(labels) if label.measured]
    ratios = iter(group.ratios(sums for at in measured for sums in _sums(group, at)))
    quantities = {at: {name: next(ratios) for name in RATES} for at in measured}
    tested = [quantities[at] for at in measured if labels[at].tested]
    macro = eligibility.macro(group.networks[0].test, labels)
    of_macro = {name: seed_groups.mean([part[name] for part in tested]) for name in RATES} if tested else {}
    yield _row(group, macro, MACRO, np.full(len(group.networks), np.nan), of_macro)
    for at, label in enumerate(labels):
        asked = group.asked[at]
        thresholds = np.array([chosen.thresholds[asked] for chosen in group.choices])
        yield _row(group, label, asked, thresholds, quantities.get(at, {}))


def _with_threshold(group: SeedGroup, at: int) -> Label:
    """The label at a position, excluded if the validation split of a network gives no threshold for it."""
    label = group.labels[at]
    if not label.measured or not any(np.isnan(chosen.thresholds[group.asked[at]]) for chosen in group.choices):
        return label
    return replace(label, measured=False, tested=False, note="left out: validation lacks a class")


def _sums(group: SeedGroup, at: int) -> Iterator[list[Summed]]:
    """The sums of each rate of a label, one per seed."""
    target, patient = group.target(at), group.patient[group.labels[at].known]
    parts = [
        operating.correctness(target, score, threshold=chosen.thresholds[group.asked[at]])
        for score, chosen in zip(group.scores(at, RAW), group.choices, strict=True)
    ]
    for name in RATES:
        yield [means.summed(part[name], patient, patients=group.patients) for part in parts]


def _row(group: SeedGroup, label: Label, asked: str, thresholds: np.ndarray, quantities: dict[str, Quantity]) -> dict:
    """One row; without quantities its numbers are NaN."""
    numbers = {"asked_specificity": group.comparison.specificity, "threshold": thresholds.mean()}
    numbers |= {"threshold_low": thresholds.min(), "threshold_high": thresholds.max()}
    for name in RATES:
        estimate = quantities[name].estimate(label) if quantities else readers.UNKNOWN
        numbers |= columns_of(name, estimate, _interval(estimate, label, level=group.comparison.level))
    undefined = [name.upper() for name in ("ppv", "npv") if quantities and np.isnan(numbers[name])]
    notes = [f"no {name}: a run raises {'no alarm' if name == 'PPV' else 'alarms only'}" for name in undefined]
    place = group.place | {"label": label.name, "asked": asked}
    return place | numbers | group.counts(label, *notes)


def _interval(estimate: Estimate, label: Label, *, level: float) -> tuple[float, float]:
    """The interval of a rate; if it is 0 or 1 in every run, Clopper and Pearson's (1934, Biometrika 26:404)."""
    if estimate.constant and estimate.value in SHARE:
        # the standard error is 0, but so few patients with the same outcome do not exclude other rates
        patients = label.smaller_class
        exact = binomtest(int(estimate.value) * patients, patients).proportion_ci(1 - level, method="exact")
        return float(exact.low), float(exact.high)
    return estimate.interval_inside(level, bounds=SHARE)
