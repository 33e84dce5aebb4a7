"""The check-list CLAIM, 2024 update, filled in where the study knows the answer."""

from headwater.reporting import check_lists
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults

CARD = TableCard(place=120, section="checks", formats=("csv", "md", "html"))


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line per item."""
    return {"": check_lists.table(check_lists.CLAIM, title="CLAIM, 2024 update", study=study)}
