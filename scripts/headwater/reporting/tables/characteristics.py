"""Who the cases of each dataset are, as the first table of a paper tells it."""

from headwater.reporting import cohort
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults

CARD = TableCard(place=30, section="study")


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """All datasets in one table, a column per split."""
    return {"": cohort.table(study.cases, grid=study.grid)}
