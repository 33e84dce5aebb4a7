"""Examine: can scores be read as probabilities, what do alarms find and miss, and for whom does it work less well?

Temperatures and thresholds are settled on the validation split; the draws of patients are those of `compare`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from headwater.data.tables import KEYS, TABLES, read_table, write_table
from headwater.evaluation import calibration as evaluation_calibration
from headwater.evaluation import eligibility as labels_of
from headwater.evaluation import external
from headwater.evaluation import predictions as predictions_of
from headwater.evaluation import subgroups as subgroups_of
from headwater.evaluation.calibration import Cell
from headwater.evaluation.predictions import Predictions
from headwater.reporting import provenance as provenance_of
from headwater.study.comparison import Comparison
from headwater.study.shared_labels import Exchanges


def examine(
    *,
    comparison: Comparison,
    predictions: list[Path],
    validation: list[Path],
    labels: Path,
    cases: Path,
    calibration: Path,
    reliability: Path,
    thresholds: Path,
    subgroups: Path,
    settled: Path,
    provenance: Path,
    fitted_to: Exchanges = Exchanges(),  # noqa: B008
    elsewhere: list[Path] | None = None,
    validation_elsewhere: list[Path] | None = None,
    labels_elsewhere: list[Path] | None = None,
    threads: int = 1,
) -> None:
    """Write how far scores are probabilities, points to draw it, operating points, subgroups, and what was settled.

    `cases` tell sex, age, projection and site of the test cases, and `labels` what no network could learn. What ends in
    `elsewhere` is of networks fitted to the other datasets in `fitted_to`, which keep what their own validation split
    settled; `labels_elsewhere` stand in its order.
    """
    tested = predictions_of.read_all(comparison, predictions)
    validated = predictions_of.read_all(comparison, validation)
    first = next(iter(tested.values()))
    untaught = labels_of.untaught(read_table(labels, "labels"), first.labels, file=labels)
    at_home = evaluation_calibration.at_home(tested, validated, dataset=comparison.dataset, untaught=untaught)
    files = {"test": elsewhere or [], "validation": validation_elsewhere or []}
    cells = [*at_home, *_guests(first, files, labels_elsewhere or [], fitted_to=fitted_to, comparison=comparison)]
    _write(
        (row for cell in at_home for row in evaluation_calibration.settled_rows(cell, comparison=comparison)),
        settled,
        "settled",
    )
    _write(_files(cells), provenance, "provenance")
    sources = list(evaluation_calibration.trained(cells, comparison=comparison, threads=threads))
    _write((row for one in sources for row in evaluation_calibration.calibration_rows(one)), calibration, "calibration")
    _write((row for one in sources for row in evaluation_calibration.threshold_rows(one)), thresholds, "thresholds")
    points = [part for one in sources for part in evaluation_calibration.reliability_rows(one)]
    _write(pd.concat(points) if points else (), reliability, "reliability")
    parted = subgroups_of.of_cases(read_table(cases, "cases"), first.cases, file=cases)
    groups = list(subgroups_of.groups(first, parted, comparison=comparison, untaught=untaught))
    rows = subgroups_of.rows(tested, groups, comparison=comparison, threads=threads)
    _write(rows, subgroups, "subgroups")


def _files(cells: list[Cell]) -> Iterator[dict]:
    """What was predicted, file by file, each once."""
    used = {one.file: (one.run, cell.fitted_to) for cell in cells for one in (cell.test, cell.validation)}
    for file, (run, dataset) in used.items():
        yield provenance_of.of_predictions(file, run=run, dataset=dataset)


def _guests(
    home: Predictions,
    files: dict[str, list[Path]],
    counts: list[Path],
    *,
    fitted_to: Exchanges,
    comparison: Comparison,
) -> Iterator[Cell]:
    """The cells of networks fitted to other datasets, on the cases of `home`."""
    plain = external.without_controls(comparison)
    by_dataset = {split: external.by_dataset(of_split, fitted_to) for split, of_split in files.items()}
    for other, labels in zip(fitted_to.others, counts, strict=True):
        there = plain.model_copy(update={"dataset": other.dataset})
        validated = predictions_of.read_all(there, by_dataset["validation"][other.dataset])
        tested = predictions_of.read_elsewhere(plain, by_dataset["test"][other.dataset], fitted_to=other, home=home)
        asked = [name for _, name in other.labels]
        untaught = labels_of.untaught(read_table(labels, "labels"), asked, file=labels)
        yield from evaluation_calibration.of_guests(tested, validated, fitted_to=other, untaught=untaught)


def _write(rows: Iterable[dict] | pd.DataFrame, path: Path, table: str) -> None:
    """The rows as a table, in an order that is that of no file and of no config."""
    frame = pd.DataFrame(rows, columns=list(TABLES[table]))
    write_table(frame.sort_values(KEYS[table], kind="stable", ignore_index=True), path, table)
