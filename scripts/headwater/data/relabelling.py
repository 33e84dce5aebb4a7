"""Relabelling: prepared cases with the labels of another reading of the same images."""

from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.data.tables import NUMBERS, TARGET
from headwater.study.archive import Archive


def refuse_more(
    catalogue: pd.DataFrame, *, prepared: pd.DataFrame, rejected: pd.DataFrame, archive: Archive, file: Path
) -> None:
    """Refuse a reading that lists images which the first reading did not prepare."""
    unprepared = catalogue.loc[~catalogue["case"].isin({*prepared["case"], *rejected["case"]}), "case"]
    if len(unprepared):
        raise UserError(
            f"has no image {unprepared.iloc[0]}, which archives.{archive.name} lists ({len(unprepared)} such images)",
            file=file,
            remedy=f"let archives.{archive.images_of} include all images of its second readings",
        )


def refuse_contradiction(catalogue: pd.DataFrame, *, prepared: pd.DataFrame, archive: Archive, file: Path) -> None:
    """Refuse a reading by which an image is another patient's, or in another official split, than by the first.

    A case that the reading knows no patient of bears its own name instead, and one without an official split none. A
    split that the reading does not have at all was drawn from its training cases.
    """
    both = catalogue.merge(prepared[["case", "patient", "split"]], on="case", suffixes=("", "_first"))
    told, first = both["split"], both["split_first"]
    drawn = (told == "train") & ~first.isin(set(catalogue["split"]))
    other = {
        "patient": (both["patient"] != both["patient_first"]) & (both["patient"] != both["case"]),
        "split": (told != "") & (told != first) & ~drawn,
    }
    for what, which in other.items():
        if which.any():
            nameless, example = f"{which.sum()} cases have another {what} than", both.loc[which, "case"].iloc[0]
            raise UserError(
                f"archives.{archive.name}: {nameless} in archives.{archive.images_of}, such as {example}",
                file=file,
                remedy=f"let both readings say the same, or prepare archives.{archive.name} by itself: no images_of",
                nameless=f"{nameless} in the first reading",
            )


def relabelled(prepared: pd.DataFrame, catalogue: pd.DataFrame) -> pd.DataFrame:
    """The prepared cases with the catalogue's targets; cases that it does not list have no split and no targets."""
    listed = catalogue.set_index("case").reindex(prepared["case"]).reset_index()
    told = (TARGET, NUMBERS)
    targets = [column for column in catalogue if column.startswith(told)]
    unchanged = prepared[[column for column in prepared if not column.startswith(told)]]
    split = np.where(prepared["case"].isin(catalogue["case"]), prepared["split"], "")
    return pd.concat([unchanged.assign(split=split), listed[targets]], axis=1)
