"""Relabels an archive whose images are prepared: the same cases in the same splits, labels by another policy."""

from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.files import write_json
from headwater.data import index
from headwater.data.index import label_counts, one_class_notes, refuse_unusable_labels
from headwater.data.splits import account, refuse_empty_split
from headwater.data.tables import TARGET, read_table, write_table
from headwater.study.archive import Archive


def relabel(
    *, archive: Archive, first: Path, first_rejects: Path, cases: Path, rejects: Path, labels: Path, split: Path
) -> None:
    """Write an archive's cases, counts of labels and splits from those of the archive whose images it takes.

    A case that this reading leaves out keeps its row, so that rows stay those of the images, but is in no split.
    """
    known, files = read_table(first, "cases"), index.split_files(archive)
    catalogue, refused = index.read(archive), read_table(first_rejects, "rejects")
    _refuse_more(catalogue, known, refused, archive=archive, file=first)
    relabelled = _relabelled(known, catalogue)
    refuse_empty_split(relabelled)
    counts = label_counts(relabelled)
    refuse_unusable_labels(counts, archive=archive.name, files=files)
    write_table(relabelled, cases, "cases")
    write_table(refused[refused["case"].isin(catalogue["case"])], rejects, "rejects")
    write_table(counts, labels, "labels")
    write_json(account(relabelled, made={"made": f"as of {archive.images_of}"}), split)
    for note in one_class_notes(counts, files=files):
        print(f"{archive.name}: {note}", flush=True)
    out = int((relabelled["split"] == "").sum())
    print(f"{archive.name}: labels of {len(relabelled) - out} cases read anew, {out} cases left out", flush=True)


def _refuse_more(
    catalogue: pd.DataFrame, known: pd.DataFrame, refused: pd.DataFrame, *, archive: Archive, file: Path
) -> None:
    """Refuse a reading that lists images which the first one never prepared."""
    more = catalogue.loc[~catalogue["case"].isin({*known["case"], *refused["case"]}), "case"]
    if len(more):
        raise UserError(
            f"has no image {more.iloc[0]}, which archives.{archive.name} lists ({len(more)} such images)",
            file=file,
            remedy=f"archives.{archive.images_of} must take in all that its other readings do",
        )


def _relabelled(known: pd.DataFrame, catalogue: pd.DataFrame) -> pd.DataFrame:
    """The known cases with the catalogue's targets; those that it does not list are in no split, without targets."""
    listed = catalogue.set_index("case").reindex(known["case"]).reset_index()
    targets = [column for column in catalogue if column.startswith(TARGET)]
    unchanged = known[[column for column in known if not column.startswith(TARGET)]]
    split = np.where(known["case"].isin(catalogue["case"]), known["split"], "")
    return pd.concat([unchanged.assign(split=split), listed[targets]], axis=1)
