"""For whom networks work less well: of each characteristic, the group that lies furthest from all others."""

import pandas as pd

from headwater.reporting import diagnostics, formatting, provenance, small_counts
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

CARD = TableCard(place=60, section="subgroups", product="subgroups", when="examined")


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line per source and characteristic."""
    least = study.grid.comparing.fewest_positive
    rows = small_counts.hidden_groups(diagnostics.ordered(study.subgroups, study=study), least=least)
    table = diagnostics.table(
        rows,
        title="For whom does it work less well?",
        columns=_columns,
        exact=provenance.of_sources(rows, study.provenance),
        notes=[*_notes(study.grid), *diagnostics.footnotes("subgroups", guests=False, grid=study.grid)],
        study=study,
        only=rows["largest"],
        nothing=f"No group of test patients has {least} with and {least} without a label, so that none is measured.",
    )
    return {"": table}


def _columns(rows: pd.DataFrame, grid: Grid) -> dict[str, list[str]]:
    covers = formatting.covers(grid)
    return {
        "Characteristic": rows["characteristic"].tolist(),
        "Group": rows["group"].tolist(),
        "Patients": rows["patients"].astype(str).tolist(),
        f"{_metric(grid)} ± SE {covers}": diagnostics.numbers(rows, "value"),
        f"Difference from the others ± SE {covers}": diagnostics.numbers(rows, "difference", sign="+"),
    }


def _metric(grid: Grid) -> str:
    return formatting.title(grid.comparing.metrics[0], grid)


def _notes(grid: Grid) -> list[str]:
    return [
        f"Of each characteristic, the group whose {_metric(grid)} lies furthest from that of all other test patients "
        "for whom the characteristic is known, over the labels with enough patients on both sides; all groups are in "
        "subgroups.csv. Because it was picked for being the furthest, its difference is on average overestimated, and "
        "its interval does not account for the picking.",
        "The gap between the best and the worst group is neither reported nor tested: it is above zero even where all "
        "groups fare alike, because it is the largest of several differences that vary by chance.",
        f"Groups with fewer than {grid.comparing.fewest_positive} positive or negative patients are counted, not "
        "measured, and the counts are not shown: they are < a number, or ≥ it where one count would tell another. A "
        "patient whose images belong to two groups is in both. A difference can come from a different case mix in a "
        "group as well as from the network.",
    ]
