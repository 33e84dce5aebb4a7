"""The cases and patients that any two splits share, and why those are excused that had to be apart."""

from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable, plain
from headwater.reporting.results import StudyResults

CARD = TableCard(place=140, section="study", formats=("html",))

EXAMPLES = ["example", "other_example"]
"""Columns that name cases."""

NOTE = (
    "Cases: those of the part that have their like in the other, and the patients of these; other cases: the reverse. "
    "Parts that must be apart and share a case or a patient are a leak, which stops the study unless it is excused."
)


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line for each kind of overlap and pair of splits, as `ledger.csv` beside the report has it."""
    exact = study.ledger.drop(columns=EXAMPLES)
    shown = exact.assign(must_be_apart=exact["must_be_apart"].map({True: "yes", False: "no"}))
    shown = shown.rename(columns={"patients": "their_patients"}).rename(columns=_heading)
    words = ("Kind", "Part", "Other", "Must be apart", "Excuse")
    return {"": PrintedTable(title="Leaks", shown=shown, bold=plain(shown), exact=exact, notes=[NOTE], words=words)}


def _heading(column: str) -> str:
    """What a column is called above it."""
    return column.replace("_", " ").capitalize()
