"""The macro of every source on every dataset, by the dataset that its networks were fitted to."""

from headwater.reporting import external_table
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults

CARD = TableCard(place=80, section="elsewhere", when="external")


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line for each dataset that was fitted to and source, a column for each dataset tested on."""
    return {"": external_table.table(study)}
