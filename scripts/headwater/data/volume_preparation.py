"""Preparation of volumes: each is read once, turned, cropped to the body and resampled, or rejected with a reason.

Masks are looked into first, because the splits are stratified by the structures that they outline.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from headwater.core import registry
from headwater.core.errors import DiskError, UserError
from headwater.core.process_pool import in_order
from headwater.core.progress import bar
from headwater.core.records import Choice
from headwater.data import geometry, volume_hash
from headwater.data.datasets import structures_of
from headwater.data.geometry import Grids, Lengths
from headwater.data.image_sample import CRASHED
from headwater.data.io.slices import hounsfield
from headwater.data.io.volumes import Volume, refuse_other_grid
from headwater.data.perceptual_hash import WORDS
from headwater.data.shelf import FlatShelf
from headwater.data.store import CASES, REJECTS, digest
from headwater.data.tables import NUMBER, SPLITS, TARGET, TEXT, WHOLE, Table, labels_of
from headwater.data.volumes import AXES, STORED, USUAL, percentiles
from headwater.study.archive import Archive, window_of

ORIENTATION = "RAS"
"""The orientation of prepared volumes: x grows to the right, y to the front, z to the head."""

FARTHEST = 20
"""Values that lie farther from the 0.5th and 99.5th percentiles than so many times their distance are cut off, so that
a few bright voxels do not take the levels of all others."""

CEILINGS = Table(
    name="ceilings",
    columns={"structure": TEXT, "split": TEXT, "cases": WHOLE, "dice_mean": NUMBER, "dice_min": NUMBER},
    keys=("structure", "split"),
)
"""The Dice that masks reach when they are taken to the prepared grid and back: no network can expect more."""


class Census(NamedTuple):
    """What the mask of a case has, or why it cannot be read."""

    has: list[float]
    """for each structure 1 or 0, NaN where there is no mask"""
    spacing: Lengths | None = None
    """millimetres between voxels along x, y and z"""
    reason: str = ""
    kind: str = ""


class Prepared(NamedTuple):
    """A case on the prepared grid, or why it cannot be used."""

    stored: np.ndarray | None
    """int16 (x, y, z)"""
    mask: np.ndarray | None = None
    reference: np.ndarray | None = None
    """the mask on the source's grid, uint8"""
    columns: Mapping[str, Any] = {}
    hash: np.ndarray | None = None
    ceiling: Sequence[float] = ()
    """for each structure, NaN where the reference has none"""
    reason: str = ""
    kind: str = ""


class Work(NamedTuple):
    """How the volumes of an archive are prepared; travels to the workers."""

    kind: Choice
    folder: str
    structures: tuple[str, ...]
    hounsfield: bool
    spacing: Lengths | None = None
    """of the prepared grid; None: each case's own"""
    median: bool = False
    """whether it will be the median of all, for which images without a mask have to be looked into"""


def work_of(archive: Archive) -> Work:
    """How an archive is prepared; the spacing is not known yet."""
    plugin, options = registry.load("datasets", archive.kind.name), registry.chosen("datasets", archive.kind)
    outlined = structures_of(plugin, Path(archive.folder), options) if hasattr(plugin, "read_mask") else ()
    how = {"hounsfield": window_of(archive) is not None, "median": archive.spacing == "median"}
    return Work(archive.kind, archive.folder, outlined, **how)


def census(listed: pd.DataFrame, *, work: Work, archive: Archive, workers: int) -> list[Census]:
    """What the mask of each case has; the process pool reads them."""
    rows = listed.to_dict("records")
    results = in_order(partial(_counted, work=work), rows, lost=partial(_lost, Census, []), workers=workers)
    return list(bar(results, total=len(rows), what=f"look into the masks of {archive.name}"))


def with_targets(listed: pd.DataFrame, counted: Sequence[Census], *, structures: tuple[str, ...]) -> pd.DataFrame:
    """The catalogue with a target for each structure: 1 where its mask has it, 0 where not, NaN without a mask."""
    unknown = [math.nan] * len(structures)
    has = np.array([one.has or unknown for one in counted], np.float32).reshape(len(listed), len(structures))
    return listed.assign(**{TARGET + name: has[:, number] for number, name in enumerate(structures)})


def spacing_of(archive: Archive, catalogue: pd.DataFrame, counted: Sequence[Census]) -> Lengths | None:
    """The spacing of the prepared grid in millimetres; None where each case keeps its own."""
    if archive.spacing == "native":
        return None
    if archive.spacing != "median":
        return archive.spacing
    training = (catalogue["split"] == "train").to_numpy()
    known = [one.spacing for one, learned in zip(counted, training, strict=True) if learned and one.spacing]
    if not known:
        raise UserError(
            f"archives.{archive.name}: no volume of the training split can be read",
            remedy="see why by headwater doctor, or give the spacing in millimetres",
        )
    return tuple(float(length) for length in np.median(known, axis=0))


class Files(NamedTuple):
    """The flat files that are written."""

    images: Path
    masks: Path
    references: Path


def read_all(
    catalogue: pd.DataFrame, counted: Sequence[Census], *, work: Work, archive: Archive, workers: int, files: Files
) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Write the volumes and masks of all cases; gives the cases, their hashes, rejects, and each case's ceilings."""
    rows = catalogue.to_dict("records")
    readable = [place for place, one in enumerate(counted) if not one.reason]
    results = _results([rows[place] for place in readable], work=work, workers=workers)
    refused = {place: (one.reason, one.kind) for place, one in enumerate(counted) if one.reason}
    kept, columns, hashes, ceilings = [], [], [], []
    shelves = [FlatShelf(path, kind=kind) for path, kind in zip(files, (np.int16, np.uint8, np.uint8), strict=True)]
    with shelves[0] as images, shelves[1] as masks, shelves[2] as references:
        whole = zip(readable, results, strict=True)
        for place, one in bar(whole, total=len(readable), what=f"prepare {archive.name}"):
            if one.stored is None:
                refused[place] = (one.reason, one.kind)
                continue
            offset, _, begin = images.add(one.stored), masks.add(one.mask), references.add(one.reference)
            kept.append(place)
            columns.append({**one.columns, "offset": offset, "reference_offset": begin})
            hashes.append(one.hash)
            ceilings.append(one.ceiling)
    cases = catalogue.iloc[kept].reset_index(drop=True).assign(row=np.arange(len(kept)))
    cases = CASES.check(pd.concat([cases, pd.DataFrame(columns)], axis=1)) if kept else _none(catalogue)
    rejects = [
        dict(zip(REJECT, (rows[at]["case"], rows[at]["file"], *refused[at]), strict=True)) for at in sorted(refused)
    ]
    words = np.array(hashes, np.uint64).reshape(len(kept), WORDS)
    reached = pd.DataFrame(ceilings, columns=list(work.structures), dtype=float).assign(split=cases["split"])
    return cases, words, pd.DataFrame(rejects, columns=list(REJECT), dtype=str), reached


REJECT = (*REJECTS.columns, *REJECTS.optional)


def _none(catalogue: pd.DataFrame) -> pd.DataFrame:
    """The table of no case: the rejects then say why."""
    return CASES.check(catalogue.iloc[:0].assign(row=0, pixels=""))


def ceilings(reached: pd.DataFrame) -> pd.DataFrame:
    """The mean and the lowest ceiling of each structure in each split, over the cases that have it."""
    rows = []
    for structure in reached.columns.drop("split"):
        for split in SPLITS:
            dice = reached.loc[reached["split"] == split, structure].dropna()
            if len(dice):
                numbers = {"cases": len(dice), "dice_mean": dice.mean(), "dice_min": dice.min()}
                rows.append({"structure": structure, "split": split, **numbers})
    return CEILINGS.check(CEILINGS.frame(rows))


def told(table: pd.DataFrame) -> Iterator[str]:
    """One line for each structure of the test split: the ceiling of its Dice."""
    for row in table[table["split"] == "test"].itertuples():
        least = f"at least {row.dice_min:.3f}"
        yield f"{row.structure}: masks keep a Dice of {row.dice_mean:.3f} on the prepared grid ({least})"


def of_labels(counts: pd.DataFrame, *, structures: tuple[str, ...]) -> pd.DataFrame:
    """The counts of the labels that are no structures: a structure may well be in every case."""
    return counts[~counts["label"].isin(structures)]


def absent(counts: pd.DataFrame, *, structures: tuple[str, ...]) -> Iterator[str]:
    """One line for each structure and split in which no mask has it."""
    for row in counts[counts["label"].isin(structures) & (counts["positives"] == 0)].itertuples():
        yield f"{row.label} is in no mask of the {row.split} split"


def refuse_no_structure(counts: pd.DataFrame, *, structures: tuple[str, ...], archive: str) -> None:
    """Refuse an archive none of whose structures is in masks both of the training and of the test split."""
    outlined = counts[counts["label"].isin(structures) & (counts["positives"] > 0)]
    inside = {split: set(outlined.loc[outlined["split"] == split, "label"]) for split in SPLITS}
    if structures and len(outlined) and not inside["train"] & inside["test"]:
        raise UserError(
            f"archives.{archive}: no structure is in masks both of train and of test",
            remedy="add cases, or change the share or seed of the test split",
        )


def summary(prepared: pd.DataFrame, *, structures: tuple[str, ...]) -> str:
    """The structures and further labels, and the sides of the volumes, in words."""
    sides = [prepared[f"shape_{axis}"] for axis in AXES] if len(prepared) else []
    ranges = " x ".join(f"{side.min()}-{side.max()}" for side in sides)
    further = len(labels_of(prepared)) - len(structures)
    return f"{len(structures)} structures, {further} other labels, {ranges} voxels"


# in the workers


def _counted(case: Mapping[str, Any], *, work: Work) -> Census:
    """The census of a case."""
    plugin, options = registry.load("datasets", work.kind.name), registry.chosen("datasets", work.kind)
    try:
        mask = plugin.read_mask(Path(work.folder), case, options) if work.structures else None
        if mask is None:
            # reading a volume takes long, and without a median nothing of it is asked for yet
            image = plugin.read_volume(Path(work.folder), case, options) if work.median else None
            return Census([], image and image.turned(ORIENTATION).spacing)
        present = np.bincount(mask.voxels.ravel(), minlength=len(work.structures) + 1)[1:] > 0
        return Census(present.astype(float).tolist(), mask.turned(ORIENTATION).spacing)
    except DiskError:
        # an archive must not shrink because a disk or a permission fails
        raise
    except UserError as refusal:
        return Census([], reason=str(refusal), kind=refusal.kind)


def _results(rows: list[dict[str, Any]], *, work: Work, workers: int) -> Iterator[Prepared]:
    """The outcome for each case, in order; chunks of one, so that no worker holds more than one volume."""
    return in_order(partial(_read, work=work), rows, lost=partial(_lost, Prepared, None), workers=workers, chunk=1)


def _lost(form: type, nothing: Any, case: Mapping[str, Any]) -> Any:
    """The outcome for a case whose decoder ended the process."""
    return form(nothing, reason=f"{case['file']}: its decoder crashed; fetch it again", kind=CRASHED)


def _read(case: Mapping[str, Any], *, work: Work) -> Prepared:
    """The outcome for a case."""
    plugin, options = registry.load("datasets", work.kind.name), registry.chosen("datasets", work.kind)
    try:
        volume = plugin.read_volume(Path(work.folder), case, options).turned(ORIENTATION)
        mask = plugin.read_mask(Path(work.folder), case, options) if work.structures else None
        if mask is not None:
            refuse_other_grid(mask, image=volume, file=f"mask of {case['case']}")
        return prepared(volume, mask and mask.turned(ORIENTATION), work=work, case=case["case"])
    except DiskError:
        raise
    except UserError as refusal:
        return Prepared(None, reason=str(refusal), kind=refusal.kind)


def prepared(volume: Volume, mask: Volume | None, *, work: Work, case: str) -> Prepared:
    """A case in orientation RAS on the prepared grid; a volume of a single value throughout is rejected."""
    values = np.ascontiguousarray(volume.voxels, dtype=np.float32)
    if values.min() == values.max():
        kind = "shows nothing, one value throughout"
        return Prepared(None, reason=f"{case}: {kind}", kind=kind)
    grids = geometry.grids(values, spacing=volume.spacing, wanted=work.spacing, hounsfield=work.hounsfield)
    stored, slope, intercept = as_stored(grids.to_prepared(values), is_hounsfield=work.hounsfield)
    reference = np.zeros(grids.source_shape, np.uint8) if mask is None else np.ascontiguousarray(mask.voxels)
    outline = grids.masks_to_prepared(reference)
    reached = geometry.dice(grids.masks_to_source(outline), reference, structures=len(work.structures))
    columns = _columns(stored, slope, intercept) | _places(grids, volume.affine)
    columns |= {"pixels": digest(stored), "outline": digest(outline), "reference": digest(reference)}
    return Prepared(stored, outline, reference, columns, volume_hash.every(values), reached)


def as_stored(values: np.ndarray, *, is_hounsfield: bool) -> tuple[np.ndarray, float, float]:
    """(int16, slope, intercept) of values float32: exact for whole numbers in 16 bits, else in 65,536 levels."""
    if is_hounsfield:
        return hounsfield(values), 1.0, 0.0
    low, high = float(values.min()), float(values.max())
    if high - low <= STORED.max - STORED.min and (values == np.rint(values)).all():
        fits = STORED.min <= low and high <= STORED.max
        intercept = 0.0 if fits else low - STORED.min
        return (values.astype(np.float64) - intercept).astype(np.int16), 1.0, intercept
    usual_low, usual_high = np.percentile(values, USUAL).tolist()
    far = FARTHEST * (usual_high - usual_low)
    # a volume that is nearly all of one value has no usual range
    if far > 0:
        low, high = max(low, usual_low - far), min(high, usual_high + far)
    slope = (high - low) / (STORED.max - STORED.min)
    intercept = low - slope * STORED.min
    levels = np.rint((values.astype(np.float64) - intercept) / slope)
    return np.clip(levels, STORED.min, STORED.max).astype(np.int16), slope, intercept


def _columns(stored: np.ndarray, slope: float, intercept: float) -> dict[str, float]:
    """The columns of the values of a case."""
    low, high = (slope * percentiles(stored, USUAL) + intercept).tolist()
    above = stored[stored > stored.min()].astype(np.float64)
    mean, std = (above.mean(), above.std()) if len(above) else (float(stored.min()), 0.0)
    values = {"mean": slope * mean + intercept, "std": slope * std, "low": low, "high": high}
    return {"slope": slope, "intercept": intercept, **values}


def _places(grids: Grids, affine: np.ndarray) -> dict[str, Any]:
    """The columns of the grids of a case."""
    triples = grids._asdict()
    columns = {f"{what}_{axis}": triple[number] for what, triple in triples.items() for number, axis in enumerate(AXES)}
    return {**columns, "affine": json.dumps(affine.tolist())}
