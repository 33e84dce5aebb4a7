"""What the networks reached that learned from a reduced corpus."""

from dataclasses import replace

from headwater.reporting import prose, provenance, reduction_results
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults

CARD = TableCard(place=100, section="reductions", when="reduced")


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line per dataset, metric, recipe and source, beside the published study's numbers."""
    warnings = prose.warnings(study.comparisons, grid=study.grid)
    notes = reduction_results.notes(study.costs, grid=study.grid)
    table = reduction_results.measured(study.comparisons, study.costs, grid=study.grid)
    exact = provenance.of_sources(table.exact, study.provenance)
    return {"": replace(table, exact=exact, warnings=warnings, notes=notes)}
