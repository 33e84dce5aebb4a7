"""Compare: how far sources differ on one dataset, and how sure one can be, from all runs' predictions at once.

One draw of patients serves all sources, seeds, labels and metrics: every comparison is paired.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.data.tables import MACRO, TABLES, read_table, write_table
from headwater.evaluation import bootstrap, pairwise, published_analysis
from headwater.evaluation import eligibility as labels_of
from headwater.evaluation import predictions as predictions_of
from headwater.evaluation.bootstrap import Runs, Statistic
from headwater.evaluation.eligibility import Label
from headwater.evaluation.statistics import curves as curves_of
from headwater.reporting import provenance as provenance_of
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
    threads: int = 1,
) -> None:
    """Write differences between sources, what each run reached and came from, resampled differences, ROC curves.

    `labels` counts who bears which label in each split: what no network could learn is not compared.
    """
    runs = predictions_of.read_all(comparison, predictions)
    first = next(iter(runs.values()))
    untaught = labels_of.untaught(read_table(labels, "labels"), first.labels, file=labels)
    parts = labels_of.parts(first, comparison=comparison, untaught=untaught)
    statistics = list(bootstrap.statistics(runs, parts, comparison=comparison, threads=threads))
    rows = [row for statistic in statistics for row in pairwise.rows(statistic, comparison=comparison)]
    if comparison.method == "published":
        rows = published_analysis.beside(rows, runs, parts, comparison=comparison, threads=threads)
    _write(rows, comparisons, "comparisons", keys=("label", "source", "reference"))
    _write(_values(statistics, comparison), values, "values", keys=("label", "source", "seed"))
    drawn = _macro_replicates(statistics, comparison)
    _write(drawn, replicates, "replicates", keys=("source", "reference", "replicate"))
    files = [provenance_of.of_predictions(run.file, run=run.run, dataset=comparison.dataset) for run in runs.values()]
    write_table(pd.DataFrame(files), provenance, "provenance")
    write_table(_curves(runs, parts, dataset=comparison.dataset), curves, "curves")


def _write(rows: Iterable[dict] | pd.DataFrame, path: Path, table: str, *, keys: tuple[str, ...]) -> None:
    frame = pd.DataFrame(rows, columns=list(TABLES[table]))
    write_table(frame.sort_values(["metric", "recipe", *keys], ignore_index=True), path, table)


def _values(statistics: list[Statistic], comparison: Comparison) -> Iterable[dict]:
    """What each run reached, where it has a number."""
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


def _macro_replicates(statistics: list[Statistic], comparison: Comparison) -> pd.DataFrame:
    """The macro's differences with patients and seeds resampled, for corrections and for pictures."""
    parts = []
    for statistic in statistics:
        if statistic.label.name == MACRO and statistic.label.measured:
            for source, reference in pairwise.pairs_of(statistic.metric, comparison):
                drawn = pairwise.resampled_difference(statistic, source, reference, comparison)
                named = {"dataset": comparison.dataset, "metric": statistic.metric, "recipe": statistic.recipe}
                named |= {"source": source, "reference": reference}
                parts.append(pd.DataFrame({**named, "replicate": np.arange(len(drawn)), "difference": drawn}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(TABLES["replicates"]))


def _curves(runs: Runs, labels: list[Label], *, dataset: str) -> pd.DataFrame:
    """The ROC curve of each run and label that has one."""
    parts = []
    for (source, recipe, seed), run in runs.items():
        for position, label in enumerate(labels):
            if label.measured:
                target, score = run.target[position, label.known], run.score[position, label.known]
                false, true = curves_of.roc(target, score)
                named = {"dataset": dataset, "recipe": recipe, "source": source, "seed": seed, "label": label.name}
                parts.append(pd.DataFrame({**named, "false_positive_rate": false, "true_positive_rate": true}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(TABLES["curves"]))
