"""The macro of every dataset, a column per source."""

from headwater.data.tables import is_mean
from headwater.reporting import pivot
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults

CARD = TableCard(place=20)


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line per dataset, metric and recipe, and per subset of labels where any is declared."""
    rows, grid = study.comparisons, study.grid
    without = [] if grid.further_macros else ["Label"]
    means = rows[rows["label"].map(is_mean)]
    return {
        "": pivot.table(
            means, about=rows, title="Macro by test set", without=without, grid=study.grid, index=study.provenance
        )
    }
