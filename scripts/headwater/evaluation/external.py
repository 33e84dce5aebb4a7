"""External validation: networks fitted to other datasets (guests) tested on a dataset beside its own networks (home).

Home networks have exactly the values of `compare`. Guests are measured on the same resamples of the same patients, so
that a guest and the home network of the same source are compared patient by patient.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headwater.core.errors import UserError
from headwater.data.index import LABELS
from headwater.data.tables import FLAG, MACRO, NUMBER, TEXT, WHOLE, Table, read_column
from headwater.evaluation import bootstrap, eligibility, pairwise, predictions
from headwater.evaluation.bootstrap import Runs, Statistic
from headwater.evaluation.eligibility import Label
from headwater.study.comparison import Comparison
from headwater.study.shared_labels import Exchange, Exchanges

CROSSED = Table(
    name="crossed",
    columns={
        "dataset": TEXT,
        "fitted_to": TEXT,
        "metric": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "label": TEXT,
        "asked": TEXT,
        "findings": WHOLE,
        "value": NUMBER,
        "value_se": NUMBER,
        "value_low": NUMBER,
        "value_high": NUMBER,
        "home_value": NUMBER,
        "home_se": NUMBER,
        "home_low": NUMBER,
        "home_high": NUMBER,
        "difference": NUMBER,
        "difference_se": NUMBER,
        "difference_low": NUMBER,
        "difference_high": NUMBER,
        "degrees_of_freedom": NUMBER,
        "p": NUMBER,
        "patients": WHOLE,
        "cases": WHOLE,
        "positives": WHOLE,
        "positive_patients": WHOLE,
        "negative_patients": WHOLE,
        "seeds": WHOLE,
        "resamples": WHOLE,
        "tested": FLAG,
        "few": FLAG,
        "note": TEXT,
    },
    keys=("fitted_to", "metric", "recipe", "source", "label"),
)
"""One row per metric, recipe, label, source and dataset that was fitted to; `dataset` is the tested one, and `home_*`
are the values of the same source fitted to it, over the same findings."""

ORDER = ("fitted_to", "metric", "recipe", "label", "source")
"""The columns by which the rows of `CROSSED` are sorted."""

NOT_COMPARED = (
    *("home_value", "home_se", "home_low", "home_high"),
    *("difference", "difference_se", "difference_low", "difference_high", "degrees_of_freedom", "p"),
)
"""Columns that are NaN for home networks."""


def without_controls(comparison: Comparison) -> Comparison:
    """The comparison without its controls, which are not validated externally."""
    controls = {*comparison.again, *comparison.shuffled}
    sources = tuple(source for source in comparison.sources if source not in controls)
    return comparison.model_copy(update={"sources": sources, "again": {}, "shuffled": ()})


def of_shared(comparison: Comparison, labels: list[str]) -> Comparison:
    """The comparison by those metrics that fit any of the labels which two datasets share."""
    metrics = tuple(metric for metric in comparison.metrics if comparison.fitting(metric, labels))
    return comparison.model_copy(update={"metrics": metrics})


def by_dataset(files: list[Path], fitted_to: Exchanges) -> dict[str, list[Path]]:
    """The files by the dataset that their networks were fitted to."""
    files_of: dict[str, list[Path]] = {other.dataset: [] for other in fitted_to.others}
    for file in files:
        dataset = str(read_column(file, "dataset").iloc[0])
        if dataset not in files_of:
            raise UserError(
                f"is of networks fitted to {dataset}, which shares no finding", file=file, remedy="leave the file out"
            )
        files_of[dataset].append(file)
    return files_of


def there(comparison: Comparison, other: Exchange) -> Comparison:
    """The comparison as it would be of another dataset's networks at their home."""
    return comparison.model_copy(update={"dataset": other.dataset, "task": other.task, "targets": other.targets})


def untaught_there(other: Exchange, counts: Path, *, comparison: Comparison) -> dict[str, str]:
    """The reason why networks fitted to another dataset could not learn a label, by its name in the tested dataset."""
    table = LABELS.read(counts)
    asked = [name for _, name in other.labels]
    reasons = eligibility.untaught(table, asked, comparison=there(comparison, other), file=counts)
    return {label: f"{reasons[asked]} of {other.dataset}" for label, asked in other.labels if asked in reasons}


def at_home(statistics: list[Statistic], *, comparison: Comparison) -> Iterator[dict]:
    """One row per statistic and source of the home networks, from the statistics of `compare`."""
    for statistic in statistics:
        findings = len(_tested(statistics, statistic.metric))
        for source in without_controls(comparison).sources:
            yield {
                **_facts(statistic, source, findings=findings, comparison=comparison),
                "fitted_to": comparison.dataset,
                "asked": statistic.label.name,
                **pairwise.reached(statistic, source, comparison=comparison, called="value", prefix="value"),
                **dict.fromkeys(NOT_COMPARED, np.nan),
            }


def _tested(statistics: list[Statistic], metric: str) -> set[str]:
    """The labels that are tested by a metric."""
    of_metric = (statistic.label for statistic in statistics if statistic.metric == metric)
    return {label.name for label in of_metric if label.tested} - {MACRO}


def read_guests(
    other: Exchange,
    files: list[Path],
    *,
    home: Runs,
    statistics: list[Statistic],
    untaught: dict[str, str],
    comparison: Comparison,
    threads: int,
) -> Iterator[dict]:
    """The rows of the networks fitted to one other dataset, from their predictions on this dataset's cases."""
    plain = without_controls(comparison)
    guests = predictions.read_elsewhere(plain, files, fitted_to=other, home=next(iter(home.values())))
    labels = eligibility.parts(next(iter(guests.values())), comparison=plain, untaught=untaught)
    return of_guests(
        guests,
        labels,
        home=home,
        statistics=statistics,
        fitted_to=other,
        comparison=comparison,
        threads=threads,
    )


def of_guests(
    guests: Runs,
    labels: list[Label],
    *,
    home: Runs,
    statistics: list[Statistic],
    fitted_to: Exchange,
    comparison: Comparison,
    threads: int = 1,
) -> Iterator[dict]:
    """One row per label and source, then per macro and source: the guest's value, and its difference from home.

    `labels` are those that both datasets have; `statistics` are those of `home`.
    """
    plain = of_shared(without_controls(comparison), [label.name for label in labels])
    asked = dict(fitted_to.labels) | {MACRO: MACRO}
    first = next(iter(guests.values()))
    judged = {metric: eligibility.by_metric(metric, labels, run=first, comparison=plain) for metric in plain.metrics}
    tested = {
        metric: plain.fitting(metric, [label.name for label in of_metric if label.tested])
        for metric, of_metric in judged.items()
    }
    hosts = _hosts(home, list(asked), plain)
    home_by_label = {(host.metric, host.recipe, host.label.name): host for host in statistics}
    # nested: trainings on different images are not paired, even with equal seeds
    both = plain.model_copy(
        update={
            "sources": (*plain.sources, *(_guest(source, fitted_to) for source in plain.sources)),
            "pairing": "nested",
        }
    )
    for statistic in bootstrap.statistics(guests, labels, comparison=plain, threads=threads):
        name, inside = statistic.label.name, tested[statistic.metric]
        home_statistics = [
            home_by_label[statistic.metric, statistic.recipe, label] for label in (inside if name == MACRO else [name])
        ]
        runs = [
            *bootstrap.of_recipe(hosts, statistic.recipe, plain),
            *bootstrap.of_recipe(guests, statistic.recipe, plain),
        ]
        joined = _joined(statistic, home_statistics, runs, labels, comparison=comparison)
        for source in plain.sources:
            guest = _guest(source, fitted_to)
            yield {
                **_facts(statistic, source, findings=len(inside), comparison=comparison),
                "fitted_to": fitted_to.dataset,
                "asked": asked[name],
                **pairwise.reached(joined, guest, comparison=both, called="value", prefix="value"),
                **pairwise.reached(joined, source, comparison=both, called="home_value", prefix="home"),
                **pairwise.apart(joined, guest, source, comparison=both),
            }


def _guest(source: str, fitted_to: Exchange) -> str:
    """The name of a source as a guest, which is unique because names of sources have no spaces."""
    return f"{source} fitted to {fitted_to.dataset}"


def _hosts(home: Runs, labels: list[str], plain: Comparison) -> Runs:
    """The home runs without controls, with the shared labels only."""
    return {run: predictions.narrowed(predicted, labels) for run, predicted in home.items() if run[0] in plain.sources}


def _joined(
    statistic: Statistic, home_statistics: list[Statistic], runs: list, labels: list[Label], *, comparison: Comparison
) -> Statistic:
    """The statistic of the home runs without controls, followed by the guests; `runs` are in that order.

    `home_statistics` are those of the labels that it averages.
    """
    if not statistic.label.measured:
        return bootstrap.nothing(statistic.label, len(runs), metric=statistic.metric, recipe=statistic.recipe)
    at = _own_runs(comparison)
    observed = np.concatenate([np.mean([host.observed[at] for host in home_statistics], axis=0), statistic.observed])
    replicates = np.concatenate(
        [np.mean([host.replicates[at] for host in home_statistics], axis=0), statistic.replicates]
    )
    names = [host.label.name for host in home_statistics]
    positions = [position for position, label in enumerate(labels) if label.name in names]
    return Statistic(
        label=statistic.label,
        metric=statistic.metric,
        recipe=statistic.recipe,
        observed=observed,
        replicates=replicates,
        covariance=bootstrap.covariance(replicates, runs, statistic.label, positions, comparison),
    )


def _own_runs(comparison: Comparison) -> np.ndarray:
    """Positions of the home runs that are not controls."""
    own = [source in without_controls(comparison).sources for source in comparison.sources]
    return np.flatnonzero(np.repeat(own, len(comparison.seeds)))


def _facts(statistic: Statistic, source: str, *, findings: int, comparison: Comparison) -> dict:
    """The columns that identify a row, and its counts."""
    label = statistic.label
    return pairwise.facts(statistic, comparison=comparison) | {
        "source": source,
        "findings": findings if label.name == MACRO else 1,
        "tested": label.tested,
        "note": label.note,
    }
