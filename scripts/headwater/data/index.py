"""Catalogues: what an archive says of its images before a pixel is read, and how often each label occurs."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from headwater.core import registry
from headwater.core.errors import UserError, did_you_mean
from headwater.data.tables import NUMBER, SLICE_COLUMNS, SPLITS, TARGET, TEXT, WHOLE, Table, labels_of
from headwater.study.archive import Archive

CATALOGUE = Table(
    name="catalogue",
    columns={
        "case": TEXT,
        "patient": TEXT,
        # the examination that the image belongs to, and who or what took it; "" where the archive does not tell
        "study": TEXT,
        "site": TEXT,
        "file": TEXT,
        "split": TEXT,
        "sex": TEXT,
        "age": NUMBER,
        "view": TEXT,
    },
    keys=("case",),
    optional=SLICE_COLUMNS,
    with_targets=True,
)
"""What an archive says of each image, before a pixel is read."""

LABELS = Table(
    name="labels",
    columns={
        "label": TEXT,
        "split": TEXT,
        "positives": WHOLE,
        "negatives": WHOLE,
        "unknown": WHOLE,
        "positive_patients": WHOLE,
        "negative_patients": WHOLE,
    },
    keys=("label", "split"),
)
"""How many cases and patients of each split bear a label."""

FOLLOWS = {
    "train": "no network can learn it",
    "validation": "it is left out of the macro that picks the kept step",
    "test": "it is left out of the macro",
}
"""What follows where a split has one class only of a label."""


def read(archive: Archive) -> pd.DataFrame:
    """The catalogue of an archive under its own options, of the projections that take part."""
    plugin, options = registry.load("datasets", archive.kind.name), registry.chosen("datasets", archive.kind)
    listed = CATALOGUE.check(plugin.read_cases(Path(archive.folder), options), file=archive.folder or archive.name)
    return _projected(listed, archive=archive) if archive.projections else listed


def _projected(listed: pd.DataFrame, *, archive: Archive) -> pd.DataFrame:
    """The images of the projections that take part; refuses if an official split would be lost, and drawn anew."""
    place, known = f"archives.{archive.name}.projections", set(listed["view"]) - {""}
    for view in archive.projections:
        if view not in known:
            remedy = did_you_mean(view, sorted(known)) if known else "its tables tell none; leave projections out"
            raise UserError(f"{place}: no image is {view!r}", remedy=remedy)
    left = listed[listed["view"].isin(archive.projections)]
    for split in sorted(set(listed["split"]) - set(left["split"]) - {""}):
        there = sorted(set(listed.loc[listed["split"] == split, "view"]) - {""})
        remedy = f"add {there[0]}" if there else "leave projections out"
        raise UserError(
            f"{place}: no image of the official {split} split is {' or '.join(archive.projections)}", remedy=remedy
        )
    return left.reset_index(drop=True)


def split_files(archive: Archive) -> dict[str, Path]:
    """For each split the file that says, or from which we drew, who is in it."""
    plugin, folder = registry.load("datasets", archive.kind.name), Path(archive.folder)
    if archive.folder and not folder.is_dir():
        raise UserError("there is no such folder", file=folder, remedy=f"correct archives.{archive.name}.folder")
    official = {split: folder / name for split, name in getattr(plugin, "SPLIT_FILES", {}).items()}
    options = registry.chosen("datasets", archive.kind)
    origin = official.get("train", next(iter(plugin.label_files(folder, options)), None))
    return {split: origin for split in SPLITS if origin} | official


def label_counts(cases: pd.DataFrame) -> pd.DataFrame:
    """A table of cases and patients with and without each label in each split, as far as known.

    A patient with positive and negative cases counts as both.
    """
    rows = []
    for label in labels_of(cases):
        for split in SPLITS:
            target, patient = cases.loc[cases["split"] == split, [TARGET + label, "patient"]].to_numpy().T
            positive, negative = target == 1, target == 0
            rows.append(
                {
                    "label": label,
                    "split": split,
                    "positives": positive.sum(),
                    "negatives": negative.sum(),
                    "unknown": len(target) - positive.sum() - negative.sum(),
                    "positive_patients": len(set(patient[positive])),
                    "negative_patients": len(set(patient[negative])),
                }
            )
    return LABELS.check(LABELS.frame(rows))


def one_class_notes(counts: pd.DataFrame, *, files: Mapping[str, Path]) -> list[str]:
    """A line for each label and split that lacks positive or negative cases: what is absent, where, what follows."""
    notes = []
    for row in counts.itertuples():
        absent = [kind for kind in ("positive", "negative") if getattr(row, f"{kind}s") == 0]
        if absent:
            where = f"the {row.split} split ({files[row.split]})" if row.split in files else f"the {row.split} split"
            notes.append(f"{row.label} has no {' and no '.join(absent)} case in {where}; {FOLLOWS[row.split]}")
    return notes


def refuse_unusable_labels(counts: pd.DataFrame, *, archive: str, files: Mapping[str, Path]) -> None:
    """Refuse an archive none of whose labels has both classes to learn from and both to test on."""
    both = counts[(counts["positives"] > 0) & (counts["negatives"] > 0)]
    usable = set(both.loc[both["split"] == "train", "label"]) & set(both.loc[both["split"] == "test", "label"])
    if len(counts) and not usable:
        raise UserError(
            f"archives.{archive}: no label has positive and negative cases both in train and in test",
            file=files.get("test"),
            remedy="give more cases, or another share or seed of the test split",
        )
