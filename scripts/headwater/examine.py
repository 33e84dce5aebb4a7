"""Examine: can scores be read as probabilities, what do alarms find and miss, and for whom does it work less well?

Temperatures and thresholds are settled on the validation split; the draws of patients are those of `compare`.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from headwater import examined
from headwater import labels as labels_of
from headwater import predictions as predictions_of
from headwater import subgroups as subgroups_of
from headwater.formats import KEYS, TABLES, read_table, write_table
from headwater.grid import Comparison


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
    threads: int = 1,
) -> None:
    """Write how far scores are probabilities, points to draw it, operating points, subgroups, and what was settled.

    `cases` tell sex, age, projection and site of the test cases, and `labels` what no network could learn.
    """
    tested = predictions_of.read_all(comparison, predictions)
    validated = predictions_of.read_all(comparison, validation)
    first = next(iter(tested.values()))
    untaught = labels_of.untaught(read_table(labels, "labels"), first.labels, file=labels)
    cells = examined.at_home(tested, validated, dataset=comparison.dataset, untaught=untaught)
    _write((row for cell in cells for row in examined.settled_rows(cell, comparison=comparison)), settled, "settled")
    sources = list(examined.trained(cells, comparison=comparison, threads=threads))
    _write((row for one in sources for row in examined.calibration_rows(one)), calibration, "calibration")
    _write((row for one in sources for row in examined.threshold_rows(one)), thresholds, "thresholds")
    points = [part for one in sources for part in examined.reliability_rows(one)]
    _write(pd.concat(points) if points else (), reliability, "reliability")
    parted = subgroups_of.of_cases(read_table(cases, "cases"), first.cases, file=cases)
    groups = list(subgroups_of.groups(first, parted, comparison=comparison, untaught=untaught))
    rows = subgroups_of.rows(tested, groups, comparison=comparison, threads=threads)
    _write(rows, subgroups, "subgroups")


def _write(rows: Iterable[dict] | pd.DataFrame, path: Path, table: str) -> None:
    """The rows as a table, in an order that is that of no file and of no config."""
    frame = pd.DataFrame(rows, columns=list(TABLES[table]))
    write_table(frame.sort_values(KEYS[table], kind="stable", ignore_index=True), path, table)
