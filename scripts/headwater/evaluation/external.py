"""Crossed: how networks that were fitted to other hospitals' images do on one hospital's test images.

The networks fitted at home are measured as `compare` measures them, bit for bit; guests on the same draw of the same
patients, so that a guest and the network of the same source at home are compared patient by patient.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headwater.core.errors import UserError
from headwater.data.tables import MACRO, read_column, read_table
from headwater.evaluation import bootstrap, pairwise, predictions
from headwater.evaluation import eligibility as labels_of
from headwater.evaluation.bootstrap import Runs, Statistic
from headwater.evaluation.eligibility import Label
from headwater.study.comparison import Comparison
from headwater.study.shared_labels import Exchange, Exchanges

NOT_COMPARED = (
    *("home_value", "home_se", "home_low", "home_high"),
    *("difference", "difference_se", "difference_low", "difference_high", "degrees_of_freedom", "p"),
)
"""Columns that a network fitted at home has nothing for."""


def without_controls(comparison: Comparison) -> Comparison:
    """The comparison with its controls left out: they stay at home."""
    controls = {*comparison.again, *comparison.shuffled}
    sources = tuple(source for source in comparison.sources if source not in controls)
    return comparison.model_copy(update={"sources": sources, "again": {}, "shuffled": ()})


def by_dataset(files: list[Path], fitted_to: Exchanges) -> dict[str, list[Path]]:
    """The files by the dataset that their networks were fitted to."""
    found: dict[str, list[Path]] = {other.dataset: [] for other in fitted_to.others}
    for file in files:
        dataset = str(read_column(file, "dataset").iloc[0])
        if dataset not in found:
            raise UserError(
                f"is of networks fitted to {dataset}, which is not asked for", file=file, remedy="leave it out"
            )
        found[dataset].append(file)
    return found


def untaught_there(other: Exchange, counts: Path) -> dict[str, str]:
    """Why networks fitted to another dataset could not learn a label, by the tested dataset's name of it."""
    table = read_table(counts, "labels")
    reasons = labels_of.untaught(table, [asked for _, asked in other.labels], file=counts)
    return {label: f"{reasons[asked]} of {other.dataset}" for label, asked in other.labels if asked in reasons}


def at_home(statistics: list[Statistic], *, comparison: Comparison) -> Iterator[dict]:
    """One row per statistic and source that was fitted to the dataset itself, from what `compare` compares."""
    findings = len({one.label.name for one in statistics if one.label.tested} - {MACRO})
    for statistic in statistics:
        for source in without_controls(comparison).sources:
            yield {
                **_facts(statistic, source, findings=findings, comparison=comparison),
                "fitted_to": comparison.dataset,
                "asked": statistic.label.name,
                **pairwise.reached(statistic, source, comparison=comparison, called="value", prefix="value"),
                **dict.fromkeys(NOT_COMPARED, np.nan),
            }


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
    """One row per label, then the macro of them, and source: what it reaches, and how far that is from at home.

    `guests` were fitted to another dataset; `labels` are those that both have, `statistics` those of `home`.
    """
    plain = without_controls(comparison)
    asked = dict(fitted_to.labels) | {MACRO: MACRO}
    tested = [label.name for label in labels if label.tested]
    hosts = _hosts(home, list(asked), plain)
    known = {(one.metric, one.recipe, one.label.name): one for one in statistics}
    # trainings on different images are nobody's pair, whatever their seeds
    both = plain.model_copy(
        update={
            "sources": (*plain.sources, *(_guest(source, fitted_to) for source in plain.sources)),
            "pairing": "nested",
        }
    )
    for found in bootstrap.statistics(guests, labels, comparison=plain, threads=threads):
        name = found.label.name
        of_home = [known[found.metric, found.recipe, one] for one in (tested if name == MACRO else [name])]
        runs = [*bootstrap.of_recipe(hosts, found.recipe, plain), *bootstrap.of_recipe(guests, found.recipe, plain)]
        joined = _joined(found, of_home, runs, labels, comparison=comparison)
        for source in plain.sources:
            guest = _guest(source, fitted_to)
            yield {
                **_facts(found, source, findings=len(tested), comparison=comparison),
                "fitted_to": fitted_to.dataset,
                "asked": asked[name],
                **pairwise.reached(joined, guest, comparison=both, called="value", prefix="value"),
                **pairwise.reached(joined, source, comparison=both, called="home_value", prefix="home"),
                **pairwise.apart(joined, guest, source, comparison=both),
            }


def _guest(source: str, fitted_to: Exchange) -> str:
    """What a source is called whose networks were fitted to another dataset; no source has a space in its name."""
    return f"{source} fitted to {fitted_to.dataset}"


def _hosts(home: Runs, labels: list[str], plain: Comparison) -> Runs:
    """The runs at home, controls aside, with the shared labels only."""
    return {run: predictions.narrowed(said, labels) for run, said in home.items() if run[0] in plain.sources}


def _joined(
    found: Statistic, of_home: list[Statistic], runs: list, labels: list[Label], *, comparison: Comparison
) -> Statistic:
    """A statistic of the runs at home, controls aside, and below them of the guests; `runs` are theirs in that order.

    `of_home` are the statistics of the labels that it is the mean of.
    """
    if not found.label.measured:
        return bootstrap.nothing(found.label, len(runs), metric=found.metric, recipe=found.recipe)
    at = _own_runs(comparison)
    observed = np.concatenate([np.mean([one.observed[at] for one in of_home], axis=0), found.observed])
    replicates = np.concatenate([np.mean([one.replicates[at] for one in of_home], axis=0), found.replicates])
    names = [one.label.name for one in of_home]
    positions = [position for position, label in enumerate(labels) if label.name in names]
    return Statistic(
        label=found.label,
        metric=found.metric,
        recipe=found.recipe,
        observed=observed,
        replicates=replicates,
        covariance=bootstrap.covariance(replicates, runs, found.label, positions, comparison),
    )


def _own_runs(comparison: Comparison) -> np.ndarray:
    """Where the runs that are no control stand among all at home."""
    own = [source in without_controls(comparison).sources for source in comparison.sources]
    return np.flatnonzero(np.repeat(own, len(comparison.seeds)))


def _facts(statistic: Statistic, source: str, *, findings: int, comparison: Comparison) -> dict:
    """What a cell is about, and how many patients are behind it."""
    label = statistic.label
    return pairwise.facts(statistic, comparison=comparison) | {
        "source": source,
        "findings": findings if label.name == MACRO else 1,
        "tested": label.tested,
        "note": label.note,
    }
