"""Groups of test patients, each against all others."""

import pandas as pd

from headwater.core.characters import visible
from headwater.data.tables import MACRO
from headwater.reporting import diagnostics, formatting, small_counts
from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import Drawing, behind, colours_of
from headwater.reporting.figures import _forest
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

CARD = FigureCard(
    section="datasets",
    when="examined",
    place=80,
    title="Groups of patients against all others",
    caption="Groups of test patients, macro, each against all other patients for whom the same characteristic is "
    "known. Nothing here is tested: all marks are hollow.",
)


def make(study: StudyResults) -> dict[str, Drawing]:
    """A forest for each dataset; controls are left out."""
    controls = [source.name for source in study.grid.sources if source.control]
    least = study.grid.comparing.fewest_positive
    rows = small_counts.hidden_groups(diagnostics.ordered(study.subgroups, study=study), least=least)
    rows = rows[~rows["source"].isin(controls) & (rows["label"] == MACRO) & rows["difference"].notna()]
    by_dataset = {dataset.name: rows[rows["dataset"] == dataset.name] for dataset in study.grid.datasets}
    return {name: drawn(groups, grid=study.grid) for name, groups in by_dataset.items() if len(groups)}


def drawn(groups: pd.DataFrame, *, grid: Grid) -> Drawing:
    """The forest of groups of patients. No mark is filled: nothing is tested."""
    title = formatting.headings(grid)[grid.comparing.metrics[0]]
    marks = pd.DataFrame(
        {
            "panel": [title + behind(row.recipe, grid) for row in groups.itertuples()],
            "group": [
                f"{row.characteristic} {visible(row.group)}, {row.patients} patients ({row.note})"
                for row in groups.itertuples()
            ],
            "name": [grid.wording.short("sources", source) for source in groups["source"]],
            "source": groups["source"],
            "difference": groups["difference"],
            "low": groups["difference_low"],
            "high": groups["difference_high"],
            "numbers": [_forest.numbers_of(row) for row in groups.itertuples()],
            "tested": True,
            "significant": False,
        }
    )
    xlabel, covers = "difference from all others", formatting.covers(grid)
    return _forest.drawn(marks, colours=colours_of(grid), xlabel=xlabel, covers=covers)
