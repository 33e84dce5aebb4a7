"""Checks of images: which files there are, and what a sample of them shows when it is read."""

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from headwater.data.image_sample import Specimen
from headwater.data.integrity_checks.findings import FEW, Finding, tally
from headwater.data.io.folders import files_below
from headwater.data.io.raster import FORMATS

PICTURES = (*FORMATS, ".dcm", ".dicom", ".npz", ".nii", ".nii.gz")


def image_files(folder: Path) -> set[str]:
    """Image files below a folder, and below what it links to, by their path in it."""
    return {str(file.relative_to(folder)) for file in files_below(folder) if file.name.lower().endswith(PICTURES)}


def as_listed(there: set[str], listing: pd.DataFrame, *, folder: Path) -> set[str]:
    """The image files that are there by the paths that the tables use: a folder that is linked to has two.

    A listed folder is the volume whose slices lie in it.
    """
    folders = {file for file in set(listing["file"]) if (folder / file).is_dir()}
    slices = (
        {file for file in there if any(str(place) in folders for place in Path(file).parents)} if folders else set()
    )
    there = (there - slices) | folders
    other = {file for file in set(listing["file"]) - there if (folder / file).is_file()}
    same = {os.path.realpath(folder / file) for file in other}
    return other | {file for file in there if not same or os.path.realpath(folder / file) not in same}


def candidates(catalogue: pd.DataFrame | None, there: set[str] | None) -> list[dict[str, Any]]:
    """The cases that a sample is drawn from: those listed and there; without a catalogue, what lies on the disk."""
    if catalogue is None:
        return [{"case": Path(file).stem, "file": file, "split": ""} for file in sorted(there or ())]
    rows = catalogue if there is None else catalogue[catalogue["file"].isin(there)]
    return rows[["case", "patient", "study", "file", "split"]].to_dict("records")


def problems(specimens: list[Specimen], *, files: list[str]) -> Iterator[Finding]:
    """Images of the sample that cannot be used, show nothing, or have an impossible age in their header."""
    total = len(specimens)
    kinds = ((specimen.problem, specimen.stops) for specimen in specimens)
    for (problem, stops), names in _by(zip(kinds, files, strict=True)).items():
        if problem:
            severity = "error" if stops or len(names) > FEW * total else "warning"
            what = f"images of the sample that cannot be used: {len(names):,} of {total:,} ({problem})"
            remedy = f"mend or replace them; prepare refuses more than {FEW:.0%} of all (archives.<name>.rejects)"
            remedy = "prepare stops at them: check permissions, and the disk or network share" if stops else remedy
            yield Finding(severity=severity, what=what, count=len(names), remedy=remedy, names=tuple(names))
    for which, what, remedy in (
        (
            [specimen.blank for specimen in specimens],
            "have one grey value throughout",
            "look at them: prepare rejects them, as they show nothing",
        ),
        (
            [specimen.strange_age for specimen in specimens],
            "tell an age that makes no sense in their header",
            "it is unknown then",
        ),
    ):
        names = tuple(file for file, hit in zip(files, which, strict=True) if hit)
        if names:
            what = f"images of the sample that {what}: {len(names):,} of {total:,}"
            yield Finding(severity="warning", what=what, count=len(names), remedy=remedy, names=names)


def ranges(specimens: list[Specimen], *, bits: int | str, files: list[str]) -> Iterator[Finding]:
    """Grey images in 16 bits whose values fill fewer: whether they are comparable, or darker than need be.

    `bits`: those that are told, or "guessed" where each image is shown by the range of its own values.
    """
    filled = Counter(specimen.bits for specimen in specimens if specimen.bits)
    if not filled:
        return
    tell, most, total = "kind: {bits: ...}", max(filled), sum(filled.values())
    if bits != "guessed":
        if most < bits:
            what = (
                f"grey images in 16 bits that are read as {bits} bits but fill only {most}: {total:,} (they are dark)"
            )
            yield Finding(severity="warning", what=what, count=total, remedy=f"check the copy, or what {tell} says")
    elif len(filled) > 1:
        counts = ", ".join(f"{count:,} fill {number}" for number, count in sorted(filled.items()))
        names = tuple(file for file, specimen in zip(files, specimens, strict=True) if 0 < specimen.bits < most)
        what = f"grey images in 16 bits that fill different numbers of bits: {counts}; each is shown by its own range"
        remedy = f"if they are of one detector, set its bits by {tell}, so that their brightness is comparable"
        yield Finding(severity="warning", what=what, count=len(names), remedy=remedy, names=names)
    elif most < 16:
        what = f"grey images in 16 bits whose values fill {most} bits, and are shown by that range: {total:,}"
        yield Finding(severity="note", what=what, count=total, remedy=f"set {most} by {tell}, so that none is guessed")


def _by(pairs: Iterable[tuple[Hashable, Any]]) -> dict[Any, list]:
    """The values by key."""
    groups: dict[Any, list] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def duplicates(specimens: list[Specimen], rows: list[dict[str, Any]]) -> Iterator[Finding]:
    """Images that have the same pixels, and those of them that are in two splits."""
    pairs = [
        (specimen.digest, row)
        for specimen, row in zip(specimens, rows, strict=True)
        if specimen.digest and not specimen.blank
    ]
    groups = [group for group in _by(pairs).values() if len(group) > 1]
    across = [group for group in groups if len({row["split"] for row in group}) > 1]
    within = [group for group in groups if group not in across]
    for kind, severity, where, remedy in (
        (within, "warning", "", "they count twice; leave one of each"),
        (across, "error", " in another split", "what is trained on would be tested on; take one of each away"),
    ):
        names = tuple(row["file"] for group in kind for row in group)
        if names:
            what = f"images of the sample with the pixels of another one{where}: {len(names):,} of {len(specimens):,}"
            yield Finding(severity=severity, what=what, count=len(names), remedy=remedy, names=names)


def descriptions(specimens: list[Specimen], *, many: int) -> Iterator[str]:
    """How many images were read, and in which forms and sizes they are."""
    yield f"Sample       {len(specimens):,} of {many:,} images read"
    if forms := [specimen.form for specimen in specimens if specimen.form]:
        yield f"Kept as      {tally(forms)}"
    if shapes := [specimen.shape for specimen in specimens if specimen.shape]:
        heights, widths = ([shape[side] for shape in shapes] for side in (0, 1))
        common, count = Counter(shapes).most_common(1)[0]
        size = f"width {min(widths)} to {max(widths)}, height {min(heights)} to {max(heights)}"
        coloured = sum(len(shape) == 3 for shape in shapes)
        yield f"Pixels       {size}; {count:,} are {common[1]} x {common[0]}; {coloured:,} in colour"
