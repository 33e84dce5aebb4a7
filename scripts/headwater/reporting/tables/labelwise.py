"""One dataset label by label, a column per source."""

from headwater.reporting import formatting, pivot
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults

CARD = TableCard(place=70, each_dataset=True)


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A table for each dataset with a line per label."""
    tables = {}
    for dataset in study.grid.datasets:
        rows = study.comparisons[study.comparisons["dataset"] == dataset.name]
        title = f"{formatting.dataset_of(next(rows.itertuples()), study.grid)}, label by label"
        tables[dataset.name] = pivot.table(
            rows,
            about=rows,
            title=title,
            without=["Dataset"],
            grid=study.grid,
            index=study.provenance,
        )
    return tables
