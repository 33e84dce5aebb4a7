"""Ceilings: the Dice that the reference itself reaches on the grid that networks see, beside the Dice of networks."""

from pathlib import Path

import numpy as np
import pandas as pd

from headwater.data.tables import is_mean
from headwater.study.archive import Dataset
from headwater.study.grid import Grid
from headwater.study.paths import Paths

METRIC = "dice"
"""The metric that has a ceiling."""

NOTE = (
    "Ceiling: the mean Dice, over the same test cases, of the reference itself taken to the grid that networks see and "
    "back; no network that sees that grid can be expected to exceed it."
)


def beside(rows: pd.DataFrame, *, grid: Grid, paths: Paths) -> pd.DataFrame:
    """The comparisons with a column `ceiling`, for the Dice of datasets with prepared masks; as they are if none has.

    That of a macro is the mean over the labels that it averages.
    """
    of_dataset = {dataset.name: _read(Path(paths.cases(dataset.archive)), dataset) for dataset in grid.datasets}
    if not any(of_dataset.values()):
        return rows
    tested = rows[(rows["metric"] == METRIC) & rows["tested"] & ~rows["label"].map(is_mean)]
    ceilings = []
    for row in rows.itertuples():
        known = of_dataset[row.dataset] if row.metric == METRIC else {}
        inside = [row.label]
        if is_mean(row.label):
            here = tested[(tested["dataset"] == row.dataset) & (tested["recipe"] == row.recipe)]
            subset = grid.further_macros.get(row.label.partition(": ")[2], {}).get(row.dataset)
            inside = [label for label in here["label"].unique() if subset is None or label in subset]
        ceilings.append(np.mean([known.get(label, np.nan) for label in inside]) if inside else np.nan)
    return rows.assign(ceiling=ceilings)


def _read(cases: Path, dataset: Dataset) -> dict[str, float]:
    """The ceiling of each structure of the test cases, from the table beside that of the cases; nothing without one."""
    file = cases.with_name("ceilings.parquet")
    if not file.is_file():
        return {}
    # slow to import, and pictures have no ceilings
    from headwater.data.volume_preparation import CEILINGS

    table = CEILINGS.read(file)
    if dataset.splits:
        # every case is tested, whichever split the archive has it in
        total = table.assign(total=table["dice_mean"] * table["cases"]).groupby("structure")[["total", "cases"]].sum()
        return (total["total"] / total["cases"]).to_dict()
    return table[table["split"] == "test"].set_index("structure")["dice_mean"].to_dict()
