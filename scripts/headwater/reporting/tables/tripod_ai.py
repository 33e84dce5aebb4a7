"""The check-list TRIPOD+AI, filled in where the study knows the answer."""

from headwater.reporting import check_lists
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults

CARD = TableCard(place=130, section="checks", formats=("csv", "md", "html"))


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line per item."""
    return {"": check_lists.table(check_lists.TRIPOD_AI, title="TRIPOD+AI", study=study)}
