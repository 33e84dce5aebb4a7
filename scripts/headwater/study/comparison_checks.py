"""Mistakes in what a config compares: the reference, subsets of labels, and the method of the tests."""

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from headwater.core import registry
from headwater.study.checks import NAME, missing

if TYPE_CHECKING:
    from headwater.study.config import Config


def mistakes(config: "Config") -> Iterable[str]:
    """A line for each thing that is wrong with what a config compares."""
    checks = (
        _unguessable,
        _bad_comparison,
        _bad_subsets,
        _bad_method,
        _too_few_resamples,
    )
    return (line for check in checks for line in check(config))


def _unguessable(config: "Config") -> Iterable[str]:
    """Shuffled labels without a metric of which it is known what guessing reaches."""
    metrics = [name for name in config.comparison.metrics if name in registry.names("metrics")]
    with_chance = [name for name in metrics if registry.constant("metrics", name, "CHANCE", default=None) is not None]
    if config.controls.shuffled and metrics and not with_chance:
        yield (
            f"controls.shuffled: nobody knows what guessing reaches in {', '.join(metrics)}; "
            "add auroc to comparison.metrics"
        )


def _bad_comparison(config: "Config") -> Iterable[str]:
    """A comparison that has nothing to compare, or a reference that it cannot have."""
    reference = config.comparison.reference
    controls = {f"{name}_{control}": name for control, names in config.controls for name in names}
    if reference in controls and reference not in config.sources:
        yield f"comparison.reference: {reference} is a control; compare with {controls[reference]}"
    elif reference is not None:
        yield from missing("comparison.reference", reference, config.sources)
    if len(config.sources) < 2:
        yield "sources: one source cannot be compared; name at least two"


def _bad_subsets(config: "Config") -> Iterable[str]:
    """Subsets that cannot be named in a table, of datasets that are not there, or of labels that are not asked for."""
    for name, by_dataset in config.comparison.subsets.items():
        place = f"comparison.subsets.{name}"
        if not re.fullmatch(NAME, name):
            yield f"{place}: use letters, digits, _ and - in names"
        for dataset, labels in by_dataset.items():
            yield from missing(place, dataset, config.datasets)
            listed = config.datasets[dataset].listed if dataset in config.datasets else ()
            if not labels:
                yield f"{place}.{dataset}: names no label; leave {dataset} out"
            for label in labels if listed else ():
                yield from missing(f"{place}.{dataset}", label, listed)


def _bad_method(config: "Config") -> Iterable[str]:
    """A method that does not fit the seeds or the metrics, and bounds that contradict each other."""
    comparison = config.comparison
    if comparison.method == "delong" and len(config.seeds) != 1:
        yield (
            f"comparison.method: delong knows one training of each source (got {len(config.seeds)} seeds); "
            "use obuchowski_rockette"
        )
    if comparison.method == "delong" and comparison.metrics != ("auroc",):
        yield f"comparison.method: delong is for auroc alone (got {', '.join(comparison.metrics)}); use percentile"


def _too_few_resamples(config: "Config") -> Iterable[str]:
    """Resamples from which the correction can never reject, or a standard error is too rough."""
    fewest, why = max(_floors(config), default=(0, ""))
    if config.comparison.resamples < fewest:
        yield f"comparison.resamples: {why} below {fewest} resamples (got {config.comparison.resamples}); raise it"


FEWEST_FOR_AN_ERROR = 1000
"""Replicates from which a standard error is exact to about two per cent."""


SPELT = {"holm": "Holm", "max_t": "max_t"}
"""How corrections are called in a sentence."""


def _floors(config: "Config") -> Iterable[tuple[int, str]]:
    """(fewest resamples, what is wrong with fewer) for each thing that is made from them."""
    comparison = config.comparison
    if comparison.correction == "max_t":
        # the smallest adjusted p is 1 / (resamples + 1), however many tests there are
        yield math.ceil(1 / comparison.level), "max_t can reject nothing"
    if comparison.method == "percentile":
        # the smallest p is 2 / (resamples + 1); it must be rejected over the whole confirmatory family
        tests = _tests(config)
        yield (
            math.ceil(2 * tests / comparison.level) - 1,
            f"with {tests} tests {SPELT[comparison.correction]} can reject nothing",
        )
    if comparison.method in ("obuchowski_rockette", "published"):
        yield FEWEST_FOR_AN_ERROR, "a standard error is too rough"


def _tests(config: "Config") -> int:
    """How many tests the confirmatory family has; controls are not in it."""
    sources = len(config.sources)
    pairs = sources - 1 if config.comparison.reference else sources * (sources - 1) // 2
    return pairs * len(config.datasets) * len(config.recipes) * len(config.comparison.metrics)
