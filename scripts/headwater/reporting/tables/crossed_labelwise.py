"""Every source on every dataset, finding by finding, by the dataset that its networks were fitted to."""

from headwater.core import text
from headwater.reporting import external_table, provenance
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable, plain
from headwater.reporting.results import StudyResults

CARD = TableCard(place=110, when="external", formats=("csv", "html"), product="crossed")


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line for each dataset fitted to, dataset tested on, source and label."""
    rows = external_table.ordered(study.crossed, grid=study.grid)
    exact = provenance.of_cells(rows, study.provenance)
    shown = rows.round(4).astype(object).where(rows.notna(), text.NONE)
    return {"": PrintedTable(title="Tested elsewhere, label by label", shown=shown, bold=plain(shown), exact=exact)}
