"""The differences of each label of a dataset, with their intervals."""

from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import Drawing
from headwater.reporting.figures import _forest
from headwater.reporting.results import StudyResults

CARD = FigureCard(
    section="datasets",
    place=30,
    title="Differences with intervals",
    caption="Differences by label. Filled marks are significant after correction (macro: {correction}; labels: "
    "Benjamini-Hochberg); hollow marks are not. Tested rows set the axis: an arrow lies beyond it. A mark without an "
    "interval is described only.",
)


def make(study: StudyResults) -> dict[str, Drawing]:
    """A forest for each dataset."""
    pairs = study.comparisons[study.comparisons["difference"].notna()]
    by_dataset = {dataset.name: pairs[pairs["dataset"] == dataset.name] for dataset in study.grid.datasets}
    return {name: _forest.of_pairs(part, by="label", grid=study.grid) for name, part in by_dataset.items() if len(part)}
