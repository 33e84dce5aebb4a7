"""Compare: the differences between sources on one dataset, with intervals and p-values, from all runs' predictions.

The same resamples of patients are used for all sources, seeds, labels and metrics, so every comparison is paired.
"""

from pathlib import Path

from headwater.data.index import LABELS
from headwater.evaluation import bootstrap, eligibility, pairwise, published_analysis, roc, run_files
from headwater.evaluation import predictions as predictions_of
from headwater.study.comparison import Comparison


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
    threads: int = 1,
) -> None:
    """Write differences between sources, each run's values and provenance, replicates, and ROC curves.

    `labels` counts the cases of each label in each split: labels that no network could learn are not compared.
    `records` are the digests of the config's runs in the order of `predictions`, which must be of these.
    """
    run_files.refuse_other_records(predictions, records)
    runs = predictions_of.read_all(comparison, predictions)
    first = next(iter(runs.values()))
    untaught = eligibility.untaught(LABELS.read(labels), first.labels, comparison=comparison, file=labels)
    parts = eligibility.parts(first, comparison=comparison, untaught=untaught)
    statistics = list(bootstrap.statistics(runs, parts, comparison=comparison, threads=threads))
    rows = [row for statistic in statistics for row in pairwise.rows(statistic, comparison=comparison)]
    if comparison.method == "published":
        rows = published_analysis.beside(rows, runs, parts, comparison=comparison, threads=threads)
    differences = pairwise.macro_replicates(statistics, comparison=comparison)
    files = [run_files.row(run.file, run=run.run, dataset=comparison.dataset) for run in runs.values()]
    for table, content, path in (
        (pairwise.COMPARISONS, pairwise.COMPARISONS.sort(rows), comparisons),
        (bootstrap.VALUES, bootstrap.VALUES.sort(bootstrap.values(statistics, comparison=comparison)), values),
        (pairwise.REPLICATES, pairwise.REPLICATES.sort(differences), replicates),
        (run_files.RUN_FILES, run_files.RUN_FILES.frame(files), provenance),
        (roc.CURVES, roc.frame(runs, parts, comparison=comparison), curves),
    ):
        table.write(content, path)
