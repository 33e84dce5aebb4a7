"""Pairwise comparisons: the rows of the table of comparisons, from the statistics of all runs."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from headwater.core import registry
from headwater.data.tables import CHANCE, FLAG, MACRO, NUMBER, TEXT, WHOLE, Table
from headwater.evaluation.bootstrap import Statistic
from headwater.evaluation.statistics import intervals, published, readers, resampling, significance
from headwater.evaluation.statistics.readers import UNKNOWN, Estimate
from headwater.study.comparison import Comparison

COMPARISONS = Table(
    name="comparisons",
    columns={
        "dataset": TEXT,
        "metric": TEXT,
        "recipe": TEXT,
        "label": TEXT,
        "source": TEXT,
        "reference": TEXT,
        "value": NUMBER,
        "value_se": NUMBER,
        "value_low": NUMBER,
        "value_high": NUMBER,
        "reference_value": NUMBER,
        "reference_se": NUMBER,
        "reference_low": NUMBER,
        "reference_high": NUMBER,
        "difference": NUMBER,
        "difference_se": NUMBER,
        "difference_low": NUMBER,
        "difference_high": NUMBER,
        "degrees_of_freedom": NUMBER,
        "p": NUMBER,
        # p from the replicates alone, and the smallest p that so many replicates can give
        "p_percentile": NUMBER,
        "smallest_p": NUMBER,
        # against the margin; the interval covers 1 - 2 x level
        "p_noninferior": NUMBER,
        "p_equivalent": NUMBER,
        "margin_low": NUMBER,
        "margin_high": NUMBER,
        # difference in standard deviations over trainings; share of pairs of seeds in which the source is better
        "effect": NUMBER,
        "superiority": NUMBER,
        # by the method of the published study, if the config chooses it
        "published_value": NUMBER,
        "published_sd": NUMBER,
        "published_reference": NUMBER,
        "published_reference_sd": NUMBER,
        "published_p": NUMBER,
        "patients": WHOLE,
        "cases": WHOLE,
        "positives": WHOLE,
        "positive_patients": WHOLE,
        "negative_patients": WHOLE,
        "seeds": WHOLE,
        "resamples": WHOLE,
        "dropped": WHOLE,
        "tested": FLAG,
        "few": FLAG,
        "note": TEXT,
    },
    keys=("metric", "recipe", "label", "source", "reference"),
)
"""One row per metric, recipe, label, source and reference; without a reference the source alone."""

REPLICATES = Table(
    name="replicates",
    columns={
        "dataset": TEXT,
        "metric": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "reference": TEXT,
        "replicate": WHOLE,
        "difference": NUMBER,
    },
    keys=("metric", "recipe", "source", "reference", "replicate"),
)
"""Differences of the macro with patients and seeds resampled; NaN where undefined."""


def rows(statistic: Statistic, *, comparison: Comparison) -> Iterator[dict]:
    """One row per declared pair and control; sources that are never compared with a reference have one without."""
    pairs = pairs_of(statistic.metric, comparison)
    named = {source for source, _ in pairs}
    alone = [(source, "") for source in comparison.sources if source not in named]
    shared = facts(statistic, comparison=comparison) | dict.fromkeys(published.COLUMNS, np.nan)
    for source, reference in [*pairs, *alone]:
        yield shared | _row(statistic, source, reference, comparison=comparison)


def facts(statistic: Statistic, *, comparison: Comparison) -> dict:
    """The columns that identify a row, and its counts."""
    label = statistic.label
    return {
        "dataset": comparison.dataset,
        "metric": statistic.metric,
        "recipe": statistic.recipe,
        "label": label.name,
        "patients": label.patients,
        "cases": len(label.known),
        "positives": label.positives,
        "positive_patients": label.positive_patients,
        "negative_patients": label.negative_patients,
        "seeds": len(comparison.seeds),
        "resamples": 0 if comparison.splits else comparison.resamples,
        "few": label.few,
    }


def _controls(metric: str, comparison: Comparison) -> list[tuple[str, str]]:
    """(control, what it must not differ from); shuffled labels only if the metric has a chance level."""
    has_chance = hasattr(registry.load("metrics", metric), "CHANCE")
    return [*comparison.again.items(), *((source, CHANCE) for source in comparison.shuffled if has_chance)]


def pairs_of(metric: str, comparison: Comparison) -> list[tuple[str, str]]:
    """All (source, reference) that have a difference."""
    return [*comparison.pairs, *_controls(metric, comparison)]


def _row(statistic: Statistic, source: str, reference: str, *, comparison: Comparison) -> dict:
    """Values, intervals and p of a source against another, against chance, or alone."""
    label = statistic.label
    tested = bool(reference) and label.tested
    difference = _difference(statistic, source, reference, comparison)
    replicates = resampled_difference(statistic, source, reference, comparison) if tested else np.array([])
    numbers = {
        **reached(statistic, source, comparison=comparison, called="value", prefix="value"),
        **reached(statistic, reference, comparison=comparison, called="reference_value", prefix="reference"),
        **_difference_columns(difference, replicates, statistic.metric, comparison),
    }
    one_seed = "one seed: training noise is not in it" if _one_seed(comparison) and label.measured else ""
    over_folds = f"corrected t over {comparison.splits.folds} folds" if comparison.splits and label.measured else ""
    again = "fold" if comparison.splits else "resample"
    without = without_width(numbers, source=source, reference=reference, again=again)
    notes = [label.note, one_seed, over_folds, without]
    return {
        "source": source,
        "reference": reference,
        **numbers,
        **_significance(difference, replicates, tested=tested, comparison=comparison),
        **_against_margin(difference, replicates, metric=statistic.metric, tested=tested, comparison=comparison),
        **_effects(statistic, source, reference, comparison),
        "dropped": int(np.isnan(statistic.replicates).any(axis=0).sum()),
        "tested": tested,
        "note": "; ".join(note for note in notes if note),
    }


def reached(statistic: Statistic, source: str, *, comparison: Comparison, called: str, prefix: str) -> dict[str, float]:
    """The value of a source, its standard error and its interval, as columns with these names."""
    value = _value(statistic, source, comparison)
    return {
        called: value.value,
        **_uncertainty(prefix, value, _interval_of_value(value, statistic, source, comparison)),
    }


def apart(statistic: Statistic, source: str, reference: str, *, comparison: Comparison) -> dict[str, float]:
    """The difference of a source from another, with its interval, degrees of freedom and p."""
    difference = _difference(statistic, source, reference, comparison)
    tested = statistic.label.tested
    replicates = resampled_difference(statistic, source, reference, comparison) if tested else np.array([])
    tests = _significance(difference, replicates, tested=tested, comparison=comparison)
    return {**_difference_columns(difference, replicates, statistic.metric, comparison), "p": tests["p"]}


def without_width(numbers: dict[str, float], *, source: str, reference: str, again: str = "resample") -> str:
    """The note on intervals whose ends are equal: of a value or its reference's, or of the difference alone.

    `again` is what a number would vary over.
    """
    places = {"value": source, "reference": reference if reference != CHANCE else ""}
    equal = [name for prefix, name in places.items() if name and numbers[f"{prefix}_low"] == numbers[f"{prefix}_high"]]
    if equal:
        return f"interval without width: {' and '.join(equal)} the same in every {again}, which is no certainty"
    if numbers["difference_low"] == numbers["difference_high"]:
        return f"interval without width: the difference is the same in every {again}, which is no certainty"
    return ""


def _difference_columns(
    difference: Estimate, replicates: np.ndarray, metric: str, comparison: Comparison
) -> dict[str, float]:
    """A difference with its interval and degrees of freedom as columns."""
    return {
        "difference": difference.value,
        **_uncertainty("difference", difference, _interval(difference, replicates, metric, comparison)),
        "degrees_of_freedom": difference.degrees_of_freedom,
    }


def _one_seed(comparison: Comparison) -> bool:
    """Whether nothing tells how much trainings vary; those of several folds do."""
    return len(comparison.seeds) == 1 and comparison.splits is None


def _uncertainty(name: str, estimate: Estimate, interval: tuple[float, float]) -> dict[str, float]:
    """An estimate's standard error and interval as columns."""
    low, high = interval
    return {f"{name}_se": estimate.standard_error, f"{name}_low": low, f"{name}_high": high}


def macro_replicates(statistics: list[Statistic], *, comparison: Comparison) -> pd.DataFrame:
    """The macro's differences with patients and seeds resampled, for max-T and for figures: rows of `REPLICATES`."""
    parts = []
    for statistic in statistics:
        if statistic.label.name == MACRO and statistic.label.measured:
            for source, reference in pairs_of(statistic.metric, comparison):
                differences = resampled_difference(statistic, source, reference, comparison)
                test = {"dataset": comparison.dataset, "metric": statistic.metric, "recipe": statistic.recipe}
                test |= {"source": source, "reference": reference}
                parts.append(
                    pd.DataFrame({**test, "replicate": np.arange(len(differences)), "difference": differences})
                )
    return pd.concat(parts, ignore_index=True) if parts else REPLICATES.frame([])


# estimates


def _at(source: str, comparison: Comparison) -> slice:
    """The positions of a source's runs."""
    seeds = len(comparison.seeds)
    first = comparison.sources.index(source) * seeds
    return slice(first, first + seeds)


def _value(statistic: Statistic, source: str, comparison: Comparison) -> Estimate:
    """The value of a source; that of chance has no error."""
    if source == "":
        return UNKNOWN
    if source == CHANCE:
        return Estimate(registry.load("metrics", statistic.metric).CHANCE, 0.0, np.inf)
    return statistic.of_source(_at(source, comparison))


def _difference(statistic: Statistic, source: str, reference: str, comparison: Comparison) -> Estimate:
    """The difference of a source from its reference."""
    if reference == "":
        return UNKNOWN
    if reference == CHANCE:
        value, chance = (_value(statistic, name, comparison) for name in (source, reference))
        return value.above(chance.value)
    # an A/A control repeats a training with other random numbers, so its seeds are not paired with its source's
    paired = comparison.pairing == "paired" and source not in comparison.again
    return statistic.of_difference(_at(source, comparison), _at(reference, comparison), paired=paired)


def _resampled(statistic: Statistic, source: str, comparison: Comparison) -> np.ndarray:
    """A source's value with patients and seeds resampled: (resamples,)."""
    if source == CHANCE:
        return np.full(statistic.replicates.shape[1], registry.load("metrics", statistic.metric).CHANCE)
    values = statistic.replicates[_at(source, comparison)].T
    # with the dataset in the key, as trainings of one source on two datasets are independent
    key = f"{comparison.dataset}/{source}"
    counts = resampling.seed_counts(values.shape[1], resamples=len(values), seed=comparison.seed, source=key)
    return resampling.over_seeds(values, counts)


def resampled_difference(statistic: Statistic, source: str, reference: str, comparison: Comparison) -> np.ndarray:
    """A difference with patients and seeds resampled: (resamples,); NaN where undefined."""
    return _resampled(statistic, source, comparison) - _resampled(statistic, reference, comparison)


# columns


def _interval_of_value(
    value: Estimate, statistic: Statistic, source: str, comparison: Comparison
) -> tuple[float, float]:
    bounds = registry.load("metrics", statistic.metric).RANGE
    if comparison.method == "percentile" and source not in ("", CHANCE) and statistic.label.tested:
        return intervals.percentile(_resampled(statistic, source, comparison).clip(*bounds), level=comparison.level)
    return value.interval_inside(comparison.level, bounds=bounds)


def _interval(difference: Estimate, replicates: np.ndarray, metric: str, comparison: Comparison) -> tuple[float, float]:
    bounds = registry.load("metrics", metric).RANGE
    if comparison.method == "percentile":
        largest = bounds[1] - bounds[0]
        # deviations of seeds are scaled, which takes some replicates beyond what a difference can be
        return intervals.percentile(replicates.clip(-largest, largest), level=comparison.level)
    return difference.interval_of_difference(comparison.level, bounds=bounds)


def _significance(
    difference: Estimate, replicates: np.ndarray, *, tested: bool, comparison: Comparison
) -> dict[str, float]:
    """p by the configured method, and by the replicates alone."""
    defined = int((~np.isnan(replicates)).sum())
    percentile = significance.two_sided(replicates, observed=difference.value) if tested else np.nan
    # a difference of exactly 0 has p = 1 by any method
    p = percentile if _by_replicates(difference, comparison) and difference.value != 0 else difference.p()
    return {
        "p": p if tested else np.nan,
        "p_percentile": percentile,
        "smallest_p": significance.smallest(defined) if tested and defined else np.nan,
    }


def _by_replicates(difference: Estimate, comparison: Comparison) -> bool:
    """Whether p comes from replicates: by the config, or because the variance is 0 and t undefined.

    Folds have no replicates.
    """
    return comparison.method == "percentile" or (difference.constant and comparison.splits is None)


def _against_margin(
    difference: Estimate, replicates: np.ndarray, *, metric: str, tested: bool, comparison: Comparison
) -> dict[str, float]:
    """p of non-inferiority and of equivalence (two one-sided tests), and their interval; NaN without a margin."""
    if comparison.margin is None or not tested:
        return dict.fromkeys(("p_noninferior", "p_equivalent", "margin_low", "margin_high"), np.nan)
    margin = comparison.margin
    if _by_replicates(difference, comparison):
        worse, better = (significance.above(drawn, bound=-margin) for drawn in (replicates, -replicates))
        low, high = intervals.percentile(replicates, level=2 * comparison.level)
    else:
        worse, better = difference.p_above(-margin), difference.mirrored().p_above(-margin)
        bounds = registry.load("metrics", metric).RANGE
        low, high = difference.interval_of_difference(2 * comparison.level, bounds=bounds)
    # non-inferiority excludes the worse direction, equivalence both: the larger p decides
    noninferior = worse if registry.load("metrics", metric).BETTER == "higher" else better
    return {
        "p_noninferior": noninferior,
        "p_equivalent": max(worse, better),
        "margin_low": low,
        "margin_high": high,
    }


def _effects(statistic: Statistic, source: str, reference: str, comparison: Comparison) -> dict[str, float]:
    """The difference in standard deviations over trainings, and the share of pairs of seeds with the source ahead.

    Folds have neither: a seed's mean over folds varies less than any training.
    """
    if reference in ("", CHANCE) or comparison.splits:
        return {"effect": np.nan, "superiority": np.nan}
    values, others = (statistic.observed[_at(name, comparison)] for name in (source, reference))
    if registry.load("metrics", statistic.metric).BETTER == "lower":
        values, others = others, values
    return {"effect": readers.standardised(values, others), "superiority": readers.superiority(values, others)}
