"""Relabelling: prepared cases with the labels of another reading of the same archive."""

from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.data.tables import TARGET
from headwater.study.archive import Archive


def refuse_more(
    catalogue: pd.DataFrame, *, prepared: pd.DataFrame, rejected: pd.DataFrame, archive: Archive, file: Path
) -> None:
    """Refuse a reading that lists images which the first one never prepared."""
    more = catalogue.loc[~catalogue["case"].isin({*prepared["case"], *rejected["case"]}), "case"]
    if len(more):
        raise UserError(
            f"has no image {more.iloc[0]}, which archives.{archive.name} lists ({len(more)} such images)",
            file=file,
            remedy=f"archives.{archive.images_of} must take in all that its other readings do",
        )


def relabelled(prepared: pd.DataFrame, catalogue: pd.DataFrame) -> pd.DataFrame:
    """The prepared cases with the catalogue's targets; those that it does not list are in no split, without targets."""
    listed = catalogue.set_index("case").reindex(prepared["case"]).reset_index()
    targets = [column for column in catalogue if column.startswith(TARGET)]
    unchanged = prepared[[column for column in prepared if not column.startswith(TARGET)]]
    split = np.where(prepared["case"].isin(catalogue["case"]), prepared["split"], "")
    return pd.concat([unchanged.assign(split=split), listed[targets]], axis=1)
