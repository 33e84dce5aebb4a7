"""Dropping: cases that are taken out of what networks learn from, because a test split has their like.

The ledger lists them for each archive, and every job that learns reads its archive without them.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.text import many
from headwater.data import subsample, tables
from headwater.data.tables import TARGET, TEXT
from headwater.study.grid import Grid
from headwater.study.paths import Paths

DROPPED = tables.Table(
    name="dropped",
    columns={
        "case": TEXT,
        # the split that it was taken out of
        "split": TEXT,
        # what it shares, and the test splits that it shares it with, each joined by ", "
        "kinds": TEXT,
        "tests": TEXT,
    },
    keys=("case",),
)
"""The cases of an archive that no network learns from."""

OUT = "dropped "
"""What stands before the name of a split for the cases that were taken out of it."""


def list_of(archive: str, *, grid: Grid, results: Path | str) -> Path | None:
    """The list of the dropped cases of an archive, or of the archive whose images it uses; None if none is resolved."""
    return Path(Paths(results).dropped(grid.images_of(archive))) if grid.leaks.resolve else None


def without(cases: pd.DataFrame, dropped: Path | None, *, file: Path) -> pd.DataFrame:
    """The cases, which were read from `file`, with the listed ones taken out of their splits."""
    if dropped is None:
        return cases
    listed = DROPPED.read(dropped)
    splits = cases.set_index("case")["split"].reindex(listed["case"])
    # a second reading of the images may itself leave some of them out
    strange = ~(splits.isin(["", *listed["split"]]) & (splits != "test")).to_numpy()
    if strange.any() or (listed["split"] == "test").any():
        raise UserError(f"was made for other cases than {file}", file=dropped, remedy="delete it and run ledger again")
    taken = cases["case"].isin(listed["case"]) & (cases["split"] != "")
    return cases.assign(split=cases["split"].mask(taken, OUT + cases["split"]))


def left(cases: pd.DataFrame, dropped: Path | None, *, file: Path) -> pd.DataFrame:
    """The cases, which were read from `file`, but for the listed ones."""
    marked = without(cases, dropped, file=file)
    return marked[~marked["split"].str.startswith(OUT)]


def listed(taken: pd.DataFrame) -> pd.DataFrame:
    """The list of an archive, one row a case; `taken` has a row (case, split, kind, test) for each reason."""
    joined = taken.groupby(["case", "split"], sort=True)[["kind", "test"]].agg(
        lambda words: ", ".join(dict.fromkeys(words))
    )
    rows = joined.reset_index().rename(columns={"kind": "kinds", "test": "tests"})
    return DROPPED.check(DROPPED.frame(rows))


def refuse_emptied(targets: pd.DataFrame, taken: np.ndarray, *, part: str, labels: tuple[str, ...] | None) -> None:
    """Refuse to take cases out of a part if none is left, or if a label loses its last positive or negative case.

    `targets`: a row for each case of the part, a column for each label; of `labels`, none means no label and an empty
    tuple means all.
    """
    if taken.all():
        raise UserError(
            f"leaks.resolve takes all {many(len(taken), 'case')} out of {part}",
            remedy="remove the overlap by hand, excuse it, or use other data",
        )
    asked = [] if labels is None else [name for name in labels or tables.labels_of(targets) if TARGET + name in targets]
    columns = targets[[TARGET + name for name in asked]].to_numpy()
    refuse_lost(subsample.lost(columns, columns[~taken], labels=asked), taken=int(taken.sum()), part=part)


def refuse_lost(lost: dict[str, str], *, taken: int, part: str) -> None:
    """Refuse labels that lack a class, by what they lack, once so many cases are taken out of a part."""
    if lost:
        label, lacking = next(iter(lost.items()))
        others = f" ({many(len(lost) - 1, 'further label')})" if len(lost) > 1 else ""
        raise UserError(
            f"leaks.resolve takes {many(taken, 'case')} out of {part}, which leaves label {label!r} {lacking}{others}",
            remedy="leave the label out of the dataset, or excuse the overlap",
        )
