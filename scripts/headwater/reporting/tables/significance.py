"""All comparisons, one a line."""

from headwater.reporting import footnotes, formatting, prose
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults

CARD = TableCard(place=10)


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """Every comparison with its correction and verdict."""
    rows, grid = study.comparisons, study.grid
    shown = formatting.readable(rows, grid=grid)
    table = PrintedTable(
        title="Differences between sources",
        shown=shown,
        bold=formatting.strong(shown, rows["significant"].tolist()),
        exact=rows,
        warnings=prose.warnings(rows, grid=grid),
        notes=footnotes.of_significance(rows, grid=grid),
        comparisons=rows,
        grid=grid,
    )
    return {"": table}
