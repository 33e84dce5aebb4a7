"""The bootstrap: the metrics of all runs on a test set, per label and macro, and their variation over patients."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.progress import bar
from headwater.data.tables import MACRO, NUMBER, TEXT, WHOLE, Table
from headwater.evaluation import eligibility
from headwater.evaluation.eligibility import Label
from headwater.evaluation.predictions import Predictions
from headwater.evaluation.statistics import delong, readers, replication
from headwater.evaluation.statistics.ranked import LANES, ranked
from headwater.evaluation.statistics.readers import Estimate
from headwater.study import target
from headwater.study.comparison import Comparison

VALUES = Table(
    name="values",
    columns={
        "dataset": TEXT,
        "metric": TEXT,
        "recipe": TEXT,
        "label": TEXT,
        "source": TEXT,
        "seed": WHOLE,
        "value": NUMBER,
    },
    keys=("metric", "recipe", "label", "source", "seed"),
)
"""The metrics of each run over all cases."""

Runs = dict[tuple[str, str, int], Predictions]


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One metric of a label or the macro for all runs of one recipe, ordered by source, then by ascending seed."""

    label: Label
    metric: str
    recipe: str
    observed: np.ndarray
    """(runs,): over all cases."""
    replicates: np.ndarray
    """(runs, resamples): with patients resampled; NaN where undefined."""
    covariance: np.ndarray
    """(runs, runs): covariance of the observed values over samples of patients."""

    def of_source(self, at: slice) -> Estimate:
        """The value of a source, whose runs stand at these places."""
        covariance, patients = self.covariance[at, at], self.label.smaller_class
        return self._cautious(readers.of_source(self.observed[at], covariance, patients=patients))

    def of_difference(self, at: slice, other: slice, *, paired: bool) -> Estimate:
        """The difference of a source from another."""
        both = np.r_[at, other]
        estimate = readers.of_difference(
            self.observed[at],
            self.observed[other],
            self.covariance[np.ix_(both, both)],
            paired=paired,
            patients=self.label.smaller_class,
        )
        return self._cautious(estimate)

    def _cautious(self, estimate: Estimate) -> Estimate:
        return estimate.cautious(self.label.most_degrees_of_freedom) if self.label.tested else estimate.described()


def statistics(runs: Runs, labels: list[Label], *, comparison: Comparison, threads: int) -> Iterator[Statistic]:
    """For each metric and recipe the statistic of each label, then of the macro and of the macros of subsets."""
    chosen = {recipe: of_recipe(runs, recipe, comparison) for recipe in comparison.recipes}
    places = measurements(labels, run=next(iter(runs.values())), comparison=comparison)
    # all metrics, recipes and runs on the same resamples: comparisons are paired by patient
    drawn = _replicates(chosen, labels, comparison=comparison, threads=threads)
    for metric in comparison.metrics:
        judged = eligibility.by_metric(metric, labels, run=next(iter(runs.values())), comparison=comparison)
        for at_recipe, recipe in enumerate(comparison.recipes):
            replicates = {at: drawn[at_recipe, :, place] for place, (at, name) in enumerate(places) if name == metric}
            yield from _of_labels(chosen[recipe], judged, replicates, metric=metric, recipe=recipe, plan=comparison)


def values(statistics: list[Statistic], *, comparison: Comparison) -> Iterator[dict]:
    """The value of each run if it is defined: rows of `VALUES`."""
    runs = [(source, seed) for source in comparison.sources for seed in sorted(comparison.seeds)]
    for statistic in statistics:
        for (source, seed), value in zip(runs, statistic.observed, strict=True):
            if not np.isnan(value):
                yield {
                    "dataset": comparison.dataset,
                    "metric": statistic.metric,
                    "recipe": statistic.recipe,
                    "label": statistic.label.name,
                    "source": source,
                    "seed": seed,
                    "value": value,
                }


def measurements(labels: list[Label], *, run: Predictions, comparison: Comparison) -> list[tuple[int, str]]:
    """(position of a label, metric) of all that is measured: each label by the metrics that its task has evidence for.

    Refuses a metric that fits none of the labels, which are those of `run`.
    """
    fitting = {metric: comparison.fitting(metric, [label.name for label in labels]) for metric in comparison.metrics}
    for metric, names in fitting.items():
        if not names and labels:
            raise UserError(
                f"{metric} needs {', '.join(target.needed(metric))}, but predictions hold "
                f"{' and '.join(comparison.evidence)}",
                file=run.file,
                remedy="remove it from comparison.metrics",
            )
    judged = {
        metric: eligibility.by_metric(metric, labels, run=run, comparison=comparison) for metric in comparison.metrics
    }
    return [
        (position, metric)
        for position, label in enumerate(labels)
        for metric in comparison.metrics
        if label.name in fitting[metric] and judged[metric][position].measured
    ]


def of_recipe(runs: Runs, recipe: str, comparison: Comparison) -> list[Predictions]:
    """The runs of a recipe, ordered by source, then by ascending seed."""
    return [runs[source, recipe, seed] for source in comparison.sources for seed in sorted(comparison.seeds)]


def _replicates(
    chosen: dict[str, list[Predictions]], labels: list[Label], *, comparison: Comparison, threads: int
) -> np.ndarray:
    """All replicates from one draw of patients: (recipes, runs, measurements, resamples)."""
    names, patient = np.unique(next(iter(chosen.values()))[0].patients, return_inverse=True)
    return _drawn(chosen, labels, patient, len(names), comparison=comparison, threads=threads)


def image_replicates(
    chosen: dict[str, list[Predictions]], labels: list[Label], *, comparison: Comparison, threads: int
) -> np.ndarray:
    """The same with images resampled as if each were a patient, as in the published study."""
    cases = len(next(iter(chosen.values()))[0].cases)
    return _drawn(chosen, labels, np.arange(cases), cases, comparison=comparison, threads=threads)


def _drawn(
    chosen: dict[str, list[Predictions]],
    labels: list[Label],
    unit: np.ndarray,
    units: int,
    *,
    comparison: Comparison,
    threads: int,
) -> np.ndarray:
    """All replicates from one draw of `units`; `unit` (cases,) is the unit of each case."""
    first = next(iter(chosen.values()))
    metrics: dict[int, dict[str, np.ndarray]] = {}
    places = measurements(labels, run=first[0], comparison=comparison)
    judged = {name: eligibility.by_metric(name, labels, run=first[0], comparison=comparison) for _, name in places}
    for position, metric in places:
        metrics.setdefault(position, {})[metric] = judged[metric][position].known
    columns = [
        column
        for runs in chosen.values()
        for run in runs
        for position, known in metrics.items()
        for column in _columns(run, position, known, unit, units)
    ]
    return replication.replicates(
        columns,
        patients=units,
        resamples=comparison.resamples,
        seed=comparison.seed,
        threads=threads,
        watch=lambda blocks: bar(blocks, total=-(-comparison.resamples // LANES), what=f"{comparison.dataset}: drawn"),
    ).reshape(len(chosen), len(first), len(places), comparison.resamples)


def _columns(
    run: Predictions, position: int, known_of: dict[str, np.ndarray], unit: np.ndarray, units: int
) -> Iterator[replication.Column]:
    """One column per metric, on its cases; all that rank the cases, which are the same for them, share one ranking."""
    metrics = {name: registry.load("metrics", name) for name in known_of}
    ranking = next((known_of[name] for name, metric in metrics.items() if hasattr(metric, "KERNEL")), None)
    ranks = None
    if ranking is not None:
        ranks = ranked(**run.of(("target", "score"), position, ranking), patient=unit[ranking])
    for name, metric in metrics.items():
        known = known_of[name]
        evidence = run.of(metric.EVIDENCE, position, known)
        try:
            yield replication.column(metric, evidence, unit[known], patients=units, ranks=ranks)
        except UserError as refusal:
            raise UserError(str(refusal), file=run.file) from None


def _of_labels(
    runs: list[Predictions],
    labels: list[Label],
    replicates: dict[int, np.ndarray],
    *,
    metric: str,
    recipe: str,
    plan: Comparison,
) -> Iterator[Statistic]:
    """The statistics of all labels that fit the metric and of their means; `replicates` (runs, resamples) by label."""
    fits = set(plan.fitting(metric, [label.name for label in labels]))
    fitting = [label for label in labels if label.name in fits]
    of_tested: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for position, label in enumerate(labels):
        if label.name in fits and not label.measured:
            yield nothing(label, len(runs), metric=metric, recipe=recipe)
        if position not in replicates:
            continue
        observed, drawn = _observed(runs, position, label, metric), replicates[position]
        if label.tested:
            of_tested[label.name] = observed, drawn
        of_runs = covariance(drawn, runs, label, [position], plan)
        yield Statistic(
            label=label, metric=metric, recipe=recipe, observed=observed, replicates=drawn, covariance=of_runs
        )
    means = {MACRO: fitting} | eligibility.subsets(runs[0], labels, comparison=plan, fitting=fitting)
    for name, members in means.items():
        macro = eligibility.macro(runs[0], labels, inside=members, name=name)
        if not macro.tested:
            yield nothing(macro, len(runs), metric=metric, recipe=recipe)
            continue
        # NaN of any label makes the macro of a replicate NaN: a mean over fewer labels would be another quantity
        parts = [of_tested[label.name] for label in members if label.tested]
        observed, drawn = (np.mean(part, axis=0) for part in zip(*parts, strict=True))
        names = {label.name for label in members if label.tested}
        positions = [position for position, label in enumerate(labels) if label.name in names]
        of_runs = covariance(drawn, runs, macro, positions, plan)
        yield Statistic(
            label=macro, metric=metric, recipe=recipe, observed=observed, replicates=drawn, covariance=of_runs
        )


def nothing(label: Label, runs: int, *, metric: str, recipe: str) -> Statistic:
    """The statistic of a label that is not measured: NaN."""
    return Statistic(
        label=label,
        metric=metric,
        recipe=recipe,
        observed=np.full(runs, np.nan),
        replicates=np.empty((runs, 0)),
        covariance=np.full((runs, runs), np.nan),
    )


def _observed(runs: list[Predictions], position: int, label: Label, metric: str) -> np.ndarray:
    """The metric of each run over all cases: (runs,)."""
    plugin = registry.load("metrics", metric)
    once = np.ones((1, len(label.known)), dtype=np.int64)
    return np.array([plugin.measure(**run.of(plugin.EVIDENCE, position, label.known), weights=once)[0] for run in runs])


def covariance(
    replicates: np.ndarray, runs: list[Predictions], label: Label, positions: list[int], plan: Comparison
) -> np.ndarray:
    """The covariance of the runs' values over samples of patients, from replicates or from DeLong's components.

    `positions`: the positions of the labels in `label`, several for the macro.
    """
    if plan.method == "delong":
        scores = np.array([run.score[positions] for run in runs])
        return delong.mean_areas(runs[0].target[positions], scores, patients=runs[0].patients)[1]
    return readers.covariance(replicates, patients=label.smaller_class)
