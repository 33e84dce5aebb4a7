"""Catalogues: the metadata and labels of an archive's images before a pixel is read, and the counts of each label."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from headwater.core import registry
from headwater.core.errors import UserError, did_you_mean
from headwater.data.io.identifiers import flaws_of_patients
from headwater.data.tables import (
    NUMBER,
    NUMBERS,
    SLICE_COLUMNS,
    SPLITS,
    TARGET,
    TEXT,
    WHOLE,
    Table,
    labels_of,
    numbers_of,
)
from headwater.study.archive import Archive

CATALOGUE = Table(
    name="catalogue",
    columns={
        "case": TEXT,
        "patient": TEXT,
        # the examination of the image, and the hospital or device; "" if the archive does not state it
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
"""The metadata and labels of each image of an archive, before a pixel is read."""

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
"""The numbers of cases and patients with and without each label in each split."""

FOLLOWS = {
    "train": "no network can learn it",
    "validation": "it is left out of the macro that picks the kept step",
    "test": "it is left out of the macro",
}
"""The consequence of a split that has only one class of a label."""


def read(archive: Archive) -> pd.DataFrame:
    """The catalogue of an archive under its own options, restricted to its projections."""
    plugin, options = registry.load("datasets", archive.kind.name), registry.chosen("datasets", archive.kind)
    listed = CATALOGUE.check(plugin.read_cases(Path(archive.folder), options), file=archive.folder or archive.name)
    _refuse_unclear(listed["patient"], archive=archive)
    return _projected(listed, archive=archive) if archive.projections else listed


def _refuse_unclear(patients: pd.Series, *, archive: Archive) -> None:
    """Refuse patients that are no one, or one in two forms, wherever their names come from."""
    for flaw in flaws_of_patients(patients.unique()):
        many = f"({int(patients.isin(flaw.names).sum())} such images)"
        thing, nameless = f"archives.{archive.name}: {flaw.what} {many}", f"{flaw.nameless} {many}"
        raise UserError(thing, file=archive.folder, remedy=flaw.remedy, nameless=nameless)


def _projected(listed: pd.DataFrame, *, archive: Archive) -> pd.DataFrame:
    """The images of the listed projections.

    An official split without any of them is refused: `with_splits` would take it for absent and draw another.
    """
    place, projections = f"archives.{archive.name}.projections", set(listed["view"]) - {""}
    for view in archive.projections:
        if view not in projections:
            remedy = "the archive states no projections; remove the key"
            remedy = did_you_mean(view, sorted(projections)) if projections else remedy
            raise UserError(f"{place}: no image is {view!r}", remedy=remedy)
    included = listed[listed["view"].isin(archive.projections)]
    for split in sorted(set(listed["split"]) - set(included["split"]) - {""}):
        of_split = sorted(set(listed.loc[listed["split"] == split, "view"]) - {""})
        remedy = f"add {of_split[0]}" if of_split else "remove the key"
        raise UserError(
            f"{place}: no image of the official {split} split is {' or '.join(archive.projections)}", remedy=remedy
        )
    return included.reset_index(drop=True)


def split_files(archive: Archive) -> dict[str, Path]:
    """The file that defines each split, or from which it is drawn."""
    plugin, folder = registry.load("datasets", archive.kind.name), Path(archive.folder)
    if archive.folder and not folder.is_dir():
        raise UserError("there is no such folder", file=folder, remedy=f"correct archives.{archive.name}.folder")
    official = {split: folder / name for split, name in getattr(plugin, "SPLIT_FILES", {}).items()}
    options = registry.chosen("datasets", archive.kind)
    # a split without a file of its own is drawn from the training cases, or from all
    origin = official.get("train", next(iter(plugin.label_files(folder, options)), None))
    return {split: origin for split in SPLITS if origin} | official


def label_counts(cases: pd.DataFrame) -> pd.DataFrame:
    """The numbers of cases and patients with and without each label in each split; unknown ones count as neither.

    A patient with positive and negative cases counts as both.
    """
    rows = []
    patients, inside = (
        pd.factorize(cases["patient"])[0],
        {split: (cases["split"] == split).to_numpy() for split in SPLITS},
    )
    for label in labels_of(cases):
        for split in SPLITS:
            target, patient = cases[TARGET + label].to_numpy()[inside[split]], patients[inside[split]]
            positive, negative = target == 1, target == 0
            rows.append(
                {
                    "label": label,
                    "split": split,
                    "positives": positive.sum(),
                    "negatives": negative.sum(),
                    "unknown": len(target) - positive.sum() - negative.sum(),
                    "positive_patients": len(pd.unique(patient[positive])),
                    "negative_patients": len(pd.unique(patient[negative])),
                }
            )
    return LABELS.check(LABELS.frame(rows))


def every_count(cases: pd.DataFrame) -> pd.DataFrame:
    """The counts of labels, and of numbers, as positive where they are known."""
    known = pd.DataFrame({TARGET + name: cases[NUMBERS + name].notna().astype(float) for name in numbers_of(cases)})
    of_numbers = label_counts(pd.concat([cases[["patient", "split"]], known], axis=1))
    of_numbers["unknown"] += of_numbers["negatives"]
    of_numbers[["negatives", "negative_patients"]] = 0
    return LABELS.check(pd.concat([label_counts(cases), of_numbers], ignore_index=True))


def one_class_notes(counts: pd.DataFrame, *, files: Mapping[str, Path]) -> list[str]:
    """One line for each label and split without positive or negative cases: what is absent, where, the consequence."""
    notes = []
    for row in counts.itertuples():
        absent = [kind for kind in ("positive", "negative") if getattr(row, f"{kind}s") == 0]
        if absent:
            where = f"the {row.split} split ({files[row.split]})" if row.split in files else f"the {row.split} split"
            notes.append(f"{row.label} has no {' and no '.join(absent)} case in {where}; {FOLLOWS[row.split]}")
    return notes


def refuse_unusable_labels(counts: pd.DataFrame, *, archive: str, files: Mapping[str, Path]) -> None:
    """Refuse an archive without a label that has both classes in the training and in the test split."""
    both = counts[(counts["positives"] > 0) & (counts["negatives"] > 0)]
    usable = set(both.loc[both["split"] == "train", "label"]) & set(both.loc[both["split"] == "test", "label"])
    if len(counts) and not usable:
        raise UserError(
            f"archives.{archive}: no label has positive and negative cases both in train and in test",
            file=files.get("test"),
            remedy="add cases, or change the share or seed of the test split",
        )
