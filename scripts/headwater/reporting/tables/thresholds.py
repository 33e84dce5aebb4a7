"""What alarms find and miss at thresholds chosen on the validation split."""

import pandas as pd

from headwater.reporting import diagnostics, formatting, provenance
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

CARD = TableCard(place=50, section="thresholds", product="thresholds", when="examined")

HEADINGS = {"sensitivity": "Sensitivity", "specificity": "Specificity reached", "ppv": "PPV", "npv": "NPV"}


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line per source."""
    rows = diagnostics.ordered(study.thresholds, study=study)
    table = diagnostics.table(
        rows,
        title="What alarms find and miss",
        columns=_columns,
        exact=provenance.of_networks(rows, study.provenance),
        notes=[*_notes(study.grid), *diagnostics.footnotes("thresholds", guests=True, grid=study.grid)],
        study=study,
    )
    return {"": table}


def _columns(rows: pd.DataFrame, grid: Grid) -> dict[str, list[str]]:
    numbers = {
        f"{heading} ± SE {formatting.covers(grid)}": diagnostics.numbers(rows, name)
        for name, heading in HEADINGS.items()
    }
    return {**numbers, "Note": [formatting.note_of(row, grid) for row in rows.itertuples()]}


def _notes(grid: Grid) -> list[str]:
    return [
        f"For each run and label, the threshold is the lowest score with a specificity of at least "
        f"{grid.comparing.specificity:g} on its validation split; an alarm is a score at or above it. All rates are "
        "measured on the test split, which plays no part in choosing the threshold, so the specificity reached there "
        "may differ.",
        "Predictive values hold for the prevalence in this test split. Labels whose validation split lacks a class "
        "have no threshold. Where a rate is 0 or 1 in every run, its interval is Clopper and Pearson's for the "
        "patients of the smaller class.",
    ]
