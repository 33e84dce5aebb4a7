"""Cross: one dataset's test cases, and how all networks do on them, whichever dataset they were fitted to.

What is said of networks fitted to the dataset itself is what `compare` says, bit for bit.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from headwater.data.tables import TABLES, read_table, write_table
from headwater.evaluation import bootstrap
from headwater.evaluation import eligibility as labels_of
from headwater.evaluation import external as cells_of
from headwater.evaluation import predictions as predictions_of
from headwater.evaluation.bootstrap import Runs, Statistic
from headwater.study.comparison import Comparison
from headwater.study.shared_labels import Exchange, Exchanges


def cross(
    *,
    comparison: Comparison,
    fitted_to: Exchanges,
    predictions: list[Path],
    elsewhere: list[Path],
    labels: Path,
    labels_elsewhere: list[Path],
    crossed: Path,
    threads: int = 1,
) -> None:
    """Write what each source reaches on a dataset by the dataset it was fitted to, label by label and in the mean.

    `labels` counts who bears which label of the tested dataset, `labels_elsewhere` of those in `fitted_to`, in order.
    """
    # each cell has findings of its own, so that a mean over fewer belongs to no cell
    comparison = comparison.model_copy(update={"subsets": {}})
    home = predictions_of.read_all(comparison, predictions)
    first = next(iter(home.values()))
    untaught = labels_of.untaught(read_table(labels, "labels"), first.labels, file=labels)
    parts = labels_of.parts(first, comparison=comparison, untaught=untaught)
    statistics = list(bootstrap.statistics(home, parts, comparison=comparison, threads=threads))
    rows = list(cells_of.at_home(statistics, comparison=comparison))
    by_dataset = cells_of.by_dataset(elsewhere, fitted_to)
    # one dataset at a time: what its networks say need not be kept
    for other, counts in zip(fitted_to.others, labels_elsewhere, strict=True):
        rows += _guests(
            other,
            by_dataset[other.dataset],
            home=home,
            statistics=statistics,
            untaught=untaught | cells_of.untaught_there(other, counts),
            comparison=comparison,
            threads=threads,
        )
    frame = pd.DataFrame(rows, columns=list(TABLES["crossed"]))
    order = ["fitted_to", "metric", "recipe", "label", "source"]
    write_table(frame.sort_values(order, ignore_index=True), crossed, "crossed")


def _guests(
    other: Exchange,
    files: list[Path],
    *,
    home: Runs,
    statistics: list[Statistic],
    untaught: dict[str, str],
    comparison: Comparison,
    threads: int,
) -> Iterator[dict]:
    """The rows of the networks fitted to one other dataset."""
    plain = cells_of.without_controls(comparison)
    first = next(iter(home.values()))
    guests = predictions_of.read_elsewhere(plain, files, fitted_to=other, home=first)
    parts = labels_of.parts(next(iter(guests.values())), comparison=plain, untaught=untaught)
    return cells_of.of_guests(
        guests,
        parts,
        home=home,
        statistics=statistics,
        fitted_to=other,
        comparison=comparison,
        threads=threads,
    )
