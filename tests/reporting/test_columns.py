"""Every column of every .csv of a report has an explanation, from one place."""

import pandas as pd
import pytest

from declared_tables import declared_tables
from headwater.evaluation.multiplicity import CONFIRMATORY
from headwater.reporting import columns
from headwater.stages.report import report
from report_made import study

SHOWN = ("comparisons", "calibration", "thresholds", "subgroups", "crossed")
"""Tables of results that the report writes whole."""


@pytest.mark.parametrize("name", SHOWN)
def test_columns_of_a_table_of_results_are_explained(name):
    table = declared_tables()[name]
    assert [column for column in table.columns if not columns.of_column(column)] == []


def test_a_column_that_nobody_explains_is_seen():
    assert columns.of_column("warmth") == "" and columns.of_column("dino.warmth") == ""
    assert columns.of_column("dino.vs.random.difference_low").startswith("dino against random: lower end")


@pytest.mark.slow
def test_the_dictionary_explains_each_column_of_each_csv(tmp_path, monkeypatch):
    monkeypatch.setattr("headwater.reporting.writing.draw", lambda study: {})
    made = study(tmp_path, strengths={"random": 0.3, "dino": 1.2}, resamples=128, margin=0.05, method="published")
    report(**made.arguments(), folder=tmp_path / "report")
    text = (tmp_path / "report" / "columns.md").read_text()
    files = sorted((tmp_path / "report").glob("*.csv"))
    assert len(files) > 7 and CONFIRMATORY
    for file in files:
        [part] = [part for part in text.split("\n## ") if part.startswith(f"{file.name}\n")]
        for column in pd.read_csv(file, nrows=0).columns:
            [line] = [line for line in part.splitlines() if line.startswith(f"| `{column}` |")]
            assert len(line.split(" | ")[1].strip(" |")) > 5, (file.name, column)
