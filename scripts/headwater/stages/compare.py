"""Compare: the differences between sources on one dataset, with intervals and p-values, from all runs' predictions.

The same resamples of patients are used for all sources, seeds, labels and metrics, so every comparison is paired. Of a
dataset in folds all sources are tested on the same patients of each fold.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from headwater.data.index import LABELS
from headwater.evaluation import bootstrap, cross_validation, eligibility, pairwise, published_analysis, roc, run_files
from headwater.evaluation import predictions as predictions_of
from headwater.evaluation.bootstrap import Statistic
from headwater.reporting.dashboards import test_values
from headwater.study.comparison import Comparison
from headwater.study.tracking import Tracking


class Measured(NamedTuple):
    """What is measured of the runs on a dataset."""

    statistics: Sequence[Statistic]
    rows: list[dict[str, Any]]
    curves: pd.DataFrame
    files: list[dict[str, Any]]


def compare(
    *,
    comparison: Comparison,
    predictions: list[Path],
    labels: Path,
    comparisons: Path,
    curves: Path,
    values: Path,
    replicates: Path,
    provenance: Path,
    records: list[str] | None = None,
    tracking: Tracking = Tracking(),  # noqa: B008
    threads: int = 1,
) -> None:
    """Write differences between sources, each run's values and provenance, replicates, and ROC curves.

    `labels` counts the cases of each label in each split: labels that no network could learn are not compared. Of a
    dataset in folds it is the table of cases, which are counted fold by fold; there are no replicates and no curves.
    `records` are the digests of the config's runs in the order of `predictions`, which must be of these. The runs at
    a dashboard of TRACKING get their values too.
    """
    run_files.refuse_other_records(predictions, records)
    if comparison.splits:
        found = _in_folds(comparison, predictions, cases=labels)
    else:
        found = _on_test_split(comparison, predictions, labels=labels, threads=threads)
    differences = pairwise.macro_replicates(found.statistics, comparison=comparison)
    measured = list(bootstrap.values(found.statistics, comparison=comparison))
    for table, content, path in (
        (pairwise.COMPARISONS, pairwise.COMPARISONS.sort(found.rows), comparisons),
        (bootstrap.VALUES, bootstrap.VALUES.sort(measured), values),
        (pairwise.REPLICATES, pairwise.REPLICATES.sort(differences), replicates),
        (run_files.RUN_FILES, run_files.RUN_FILES.frame(found.files), provenance),
        (roc.CURVES, found.curves, curves),
    ):
        table.write(content, path)
    test_values.add([file.parent for file in predictions], rows=found.rows, values=measured, tracking=tracking)


def _on_test_split(comparison: Comparison, predictions: list[Path], *, labels: Path, threads: int) -> Measured:
    """What is measured on a test split, with its patients resampled."""
    runs = predictions_of.read_all(comparison, predictions)
    first = next(iter(runs.values()))
    untaught = eligibility.untaught(LABELS.read(labels), first.labels, comparison=comparison, file=labels)
    parts = eligibility.parts(first, comparison=comparison, untaught=untaught)
    statistics = list(bootstrap.statistics(runs, parts, comparison=comparison, threads=threads))
    rows = [row for statistic in statistics for row in pairwise.rows(statistic, comparison=comparison)]
    if comparison.method == "published":
        rows = published_analysis.beside(rows, runs, parts, comparison=comparison, threads=threads)
    return Measured(
        statistics=statistics,
        rows=rows,
        curves=roc.frame(runs, parts, comparison=comparison),
        files=[run_files.row(run.file, run=run.run, dataset=comparison.dataset) for run in runs.values()],
    )


def _in_folds(comparison: Comparison, predictions: list[Path], *, cases: Path) -> Measured:
    """What is measured fold by fold."""
    tested = cross_validation.read_all(comparison, predictions)
    parts = cross_validation.parts(tested, comparison=comparison, cases=cases)
    statistics = list(cross_validation.statistics(tested, parts, comparison=comparison))
    return Measured(
        statistics=statistics,
        rows=[row for statistic in statistics for row in pairwise.rows(statistic, comparison=comparison)],
        curves=roc.CURVES.frame([]),
        files=[
            run_files.row(run.file, run=run.run, dataset=comparison.dataset, part=name) for name, run in tested.files
        ],
    )
