"""Whether scores can be read as probabilities: intercept, slope, Brier score, and expected over observed."""

import pandas as pd

from headwater.reporting import diagnostics, formatting, provenance
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

CARD = TableCard(place=40, section="calibration", product="calibration", when="examined")

HEADINGS = {"intercept": "Intercept", "slope": "Slope", "brier": "Brier score", "ratio": "Expected / observed"}


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line per source and kind of scores."""
    rows = diagnostics.ordered(study.calibration, study=study)
    table = diagnostics.table(
        rows,
        title="Can the scores be read as probabilities?",
        columns=_columns,
        exact=provenance.of_networks(rows, study.provenance),
        notes=[*_notes(study.grid), *diagnostics.footnotes("calibration", guests=True, grid=study.grid)],
        study=study,
    )
    return {"": table}


def _columns(rows: pd.DataFrame, grid: Grid) -> dict[str, list[str]]:
    numbers = {
        f"{heading} ± SE {formatting.covers(grid)}": diagnostics.numbers(
            rows, name, sign="+" if name == "intercept" else ""
        )
        for name, heading in HEADINGS.items()
    }
    return {"Scores": rows["scores"].tolist(), **numbers}


def _notes(grid: Grid) -> list[str]:
    of_targets = " a target" if any(len(dataset.targets) > 1 for dataset in grid.datasets) else ""
    return [
        "Logistic recalibration on the test split (Cox 1958; Van Calster et al. 2019). Intercept, with the slope fixed "
        "at 1 (calibration in the large): 0 is ideal; below 0, findings are rarer than the scores promise. Slope: 1 is "
        "ideal; below 1, scores are too extreme. Standard errors of these two come from each patient's influence "
        "(sandwich estimator), all others from resampled patients.",
        "Expected / observed: the findings that the scores promise divided by those present; a geometric mean over "
        "labels and seeds. All numbers here are macros, in which labels that err in opposite ways cancel out: see the "
        "single labels in calibration.csv.",
        f"Scaled: all scores of a run divided by one temperature{of_targets} (Guo et al. 2017), chosen to minimise the "
        "log loss on its validation split. The test split plays no part in the choice; the temperature's own "
        "uncertainty is not included.",
    ]
