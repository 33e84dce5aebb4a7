"""What each reduction kept of its corpus, and what that took."""

from headwater.reporting import prose, reduction_results
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults

CARD = TableCard(place=90, section="reductions", when="reduced")


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line for each source that was pre-trained here."""
    warnings = prose.warnings(study.comparisons, grid=study.grid)
    notes = reduction_results.notes(study.costs, grid=study.grid)
    return {"": reduction_results.cost_table(study.costs, warnings=warnings, notes=notes, grid=study.grid)}
