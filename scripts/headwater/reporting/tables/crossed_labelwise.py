"""The same finding by finding, in full precision only."""

from headwater.reporting import external_table, provenance
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable, plain
from headwater.reporting.results import StudyResults

CARD = TableCard(place=110, when="external", formats=("csv",), product="crossed")


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line for each dataset fitted to, dataset tested on, source and label."""
    rows = external_table.ordered(study.crossed, grid=study.grid)
    exact = provenance.of_cells(rows, study.provenance)
    return {"": PrintedTable(title="Tested elsewhere, label by label", shown=rows, bold=plain(rows), exact=exact)}
