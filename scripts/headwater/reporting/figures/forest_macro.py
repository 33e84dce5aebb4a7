"""The differences of the macro on every dataset, with their intervals."""

from headwater.data.tables import MACRO
from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import Drawing
from headwater.reporting.figures import _forest
from headwater.reporting.results import StudyResults

CARD = FigureCard(
    section="verdict",
    place=10,
    title="Differences with intervals: macro",
    caption="Macro differences with their intervals. Filled marks are significant after {correction}'s correction; "
    "hollow marks are not.",
)


def make(study: StudyResults) -> dict[str, Drawing]:
    """One forest over all datasets."""
    rows = study.comparisons
    pairs = rows[rows["difference"].notna() & (rows["label"] == MACRO)]
    return {"": _forest.of_pairs(pairs, by="dataset", grid=study.grid)} if len(pairs) else {}
