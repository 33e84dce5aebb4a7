"""Mistakes in the `comparison` of a config: the reference, subsets of labels, and the statistical method."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from headwater.core import registry
from headwater.study.checks import missing
from headwater.study.text_checks import unfit

if TYPE_CHECKING:
    from headwater.study.config import Config


def mistakes(config: "Config") -> Iterable[str]:
    """One line for each mistake in the comparison of a config."""
    checks = (
        _no_chance_level,
        _bad_reference,
        _bad_sources,
        _bad_subsets,
        _bad_method,
        _too_few_resamples,
    )
    return (line for check in checks for line in check(config))


def _no_chance_level(config: "Config") -> Iterable[str]:
    """A control with shuffled labels where no metric has a chance level to hold it against."""
    metrics = [name for name in config.comparison.metrics if name in registry.names("metrics")]
    with_chance = [name for name in metrics if registry.constant("metrics", name, "CHANCE", default=None) is not None]
    if config.controls.shuffled and metrics and not with_chance:
        yield f"controls.shuffled: no chance level is defined for {', '.join(metrics)}; add auroc to comparison.metrics"


def _bad_reference(config: "Config") -> Iterable[str]:
    """A reference that is undefined, a control, or not fitted to a dataset that it is the reference of."""
    comparison, place = config.comparison, "comparison.reference"
    for reference in sorted(comparison.references):
        yield from _undefined(config, place, reference)
    for name in comparison.reference if isinstance(comparison.reference, dict) else ():
        yield from missing(place, name, config.datasets)
    for name, dataset in config.datasets.items():
        reference = comparison.reference_on(name)
        if reference in config.sources and not dataset.takes(reference):
            own = f"give each dataset its own: {{{name}: {dataset.sources[0]}, ...}}"
            yield f"{place}: {reference} is not among datasets.{name}.sources; add it there, or {own}"


def _undefined(config: "Config", place: str, source: str) -> Iterable[str]:
    """A name that no source has, or a control."""
    controls = {f"{name}_{control}": name for control, names in config.controls for name in names}
    if source in controls and source not in config.sources:
        yield f"{place}: {source} is a control; name {controls[source]}"
    else:
        yield from missing(place, source, config.sources)


def _bad_sources(config: "Config") -> Iterable[str]:
    """Fewer than two sources, and sources of datasets that are undefined."""
    if len(config.sources) < 2:
        yield "sources: a comparison needs at least two sources (got 1)"
    for name, dataset in config.datasets.items():
        place = f"datasets.{name}.sources"
        for source in dict.fromkeys(dataset.sources):
            yield from _undefined(config, place, source)
        if len(set(dataset.sources)) < len(dataset.sources):
            yield f"{place}: a source is listed twice; remove one"
        elif len(dataset.sources) == 1:
            yield f"{place}: a comparison needs at least two sources (got 1)"
        if dataset.sources and config.comparison.external:
            yield f"{place}: comparison.external compares all sources on all datasets; remove one of them"


def _bad_subsets(config: "Config") -> Iterable[str]:
    """Subsets with a bad name, of undefined datasets, or of labels that a dataset does not list."""
    for name, by_dataset in config.comparison.subsets.items():
        place = f"comparison.subsets.{name}"
        yield from (f"{place}: {why}" for why in unfit(name))
        for dataset, labels in by_dataset.items():
            yield from missing(place, dataset, config.datasets)
            listed = config.datasets[dataset].listed if dataset in config.datasets else ()
            if not labels:
                yield f"{place}.{dataset}: lists no label; remove {dataset}"
            if len(set(labels)) < len(labels):
                yield f"{place}.{dataset}: a label is listed twice; remove one"
            for label in labels if listed else ():
                yield from missing(f"{place}.{dataset}", label, listed)


def _bad_method(config: "Config") -> Iterable[str]:
    """A statistical method that does not fit the seeds or the metrics."""
    comparison = config.comparison
    if comparison.method == "delong" and len(config.seeds) != 1:
        yield f"comparison.method: delong needs exactly one seed (got {len(config.seeds)}); use obuchowski_rockette"
    if comparison.method == "delong" and comparison.metrics != ("auroc",):
        yield f"comparison.method: delong tests auroc only (got {', '.join(comparison.metrics)}); use percentile"


def _too_few_resamples(config: "Config") -> Iterable[str]:
    """Too few resamples for the correction ever to reject, or for a standard error that can be relied on."""
    fewest, why = max(_floors(config), default=(0, ""))
    if config.comparison.resamples < fewest:
        yield f"comparison.resamples: must be >= {fewest} (got {config.comparison.resamples}); with fewer, {why}"


FEWEST_FOR_AN_ERROR = 1000
"""With so many replicates the relative standard error of a standard error is about 1 / sqrt(2 * 1000), two per cent."""


SPELT = {"holm": "Holm", "max_t": "max_t"}
"""Names of corrections in messages."""


def _floors(config: "Config") -> Iterable[tuple[int, str]]:
    """(fewest resamples, what fails with fewer) for the correction and for the statistical method."""
    comparison = config.comparison
    if comparison.correction == "max_t":
        # the smallest adjusted p is 1 / (resamples + 1), however many tests there are
        yield math.ceil(1 / comparison.level), "max_t can never reject"
    if comparison.method == "percentile":
        # the smallest p is 2 / (resamples + 1); it must be rejected over the whole confirmatory family
        tests = _tests(config)
        yield (
            math.ceil(2 * tests / comparison.level) - 1,
            f"{SPELT[comparison.correction]} over {tests} tests can never reject",
        )
    if comparison.method in ("obuchowski_rockette", "published"):
        yield FEWEST_FOR_AN_ERROR, "a standard error is too rough"


def _tests(config: "Config") -> int:
    """The number of tests in the confirmatory family; controls are not in it."""
    tests = 0
    for name, dataset in config.datasets.items():
        sources = sum(dataset.takes(source) for source in config.sources)
        pairs = sources - 1 if config.comparison.reference_on(name) else sources * (sources - 1) // 2
        recipes = sum(map(dataset.follows, config.recipes))
        tests += pairs * len(dataset.fitting(config.comparison.metrics)) * recipes
    return tests
