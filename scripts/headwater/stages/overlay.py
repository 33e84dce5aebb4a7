"""Overlay: the cases in which sources outline a dataset's structures most differently, as pictures for local use."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headwater.core import files, registry
from headwater.core.errors import UserError
from headwater.data import prepared
from headwater.data.io.nifti import read_nifti
from headwater.data.io.volumes import Volume, refuse_other_grid
from headwater.data.volumes import PreparedVolumes
from headwater.evaluation import predictions as predictions_of
from headwater.evaluation import run_files
from headwater.evaluation.predictions import Predictions
from headwater.reporting import overlays
from headwater.study.archive import Dataset
from headwater.study.comparison import Comparison
from headwater.study.paths import FIT, outlines_of
from headwater.study.target import outlines

BY = "dice"
"""The metric by whose differences cases are chosen."""


COUNTED = {
    "true_positive": lambda drawn, reference: np.count_nonzero(drawn & reference),
    "false_positive": lambda drawn, reference: np.count_nonzero(drawn & ~reference),
    "false_negative": lambda drawn, reference: np.count_nonzero(~drawn & reference),
}
"""The numbers of voxels that predictions hold of an outline, by which it is known again."""


class Outlined(NamedTuple):
    """What is outlined: the name of the target, and the structures in the order of their values in predictions."""

    target: str
    structures: list[str]


def overlay(
    *,
    comparison: Comparison,
    dataset: Dataset,
    predictions: list[Path],
    cases: Path,
    images: Path,
    patch: list[int],
    page: Path,
    records: list[str] | None = None,
) -> None:
    """Write PAGE: contours of the reference and of two sources in the best, a middle and the worst case for the first.

    PREDICTIONS are those of all runs; the predicted label maps lie beside them. RECORDS are the digests of the config's
    runs in their order. PATCH are the sides of what networks see of volumes.
    """
    run_files.refuse_other_records(predictions, records)
    runs = predictions_of.read_all(comparison, predictions)
    data = prepared.read(cases, images=images, seen=dataset.seen, patch=patch)
    parts = []
    for recipe in comparison.recipes:
        behind = f", {recipe}" if len(comparison.recipes) > 1 else ""
        for source, reference in comparison.pairs:
            both = [[runs[name, recipe, seed] for seed in comparison.seeds] for name in (source, reference)]
            for outlined in _outlined(dataset, both[0][0].file):
                target = f", {outlined.target}" if outlined.target else ""
                shown = list(_shown(both, outlined, data=data, names=(source, reference), comparison=comparison))
                parts.append(overlays.Part(f"{source} against {reference}{target}{behind}", shown))
    files.write_text(overlays.page(comparison.dataset, parts), page)


def _outlined(dataset: Dataset, predictions: Path) -> Iterator[Outlined]:
    """What a run outlines, target by target."""
    labels = files.read_json(predictions.with_name(FIT))["labels"]
    for name, asked in dataset.asked.items():
        if outlines(asked.task):
            yield Outlined(name, labels[name] if isinstance(labels, Mapping) else labels)


def _shown(
    both: list[list[Predictions]],
    outlined: Outlined,
    *,
    data: PreparedVolumes,
    names: tuple[str, str],
    comparison: Comparison,
) -> Iterator[overlays.Shown]:
    """The cases of a pair of sources, whose runs `both` holds seed by seed."""
    # (2, seeds, cases)
    each = np.array([[_dice(run, outlined.structures) for run in runs] for runs in both])
    dice = each.mean(axis=1)
    first, second = (runs[0] for runs in both)
    for case in overlays.chosen(first.cases, dice[0] - dice[1]):
        at = int(np.flatnonzero(first.cases == case.case)[0])
        row = int(np.flatnonzero(data.cases["case"].to_numpy() == case.case)[0])
        reference = _numbered(data, row, outlined.structures)
        grid = Volume(reference, data.images.affine(row), "")
        drawn = [_drawn(run, outlined, case.case, reference=grid) for run in (first, second)]
        overlay = overlays.Overlay(
            data.images.to_source(row, data.images.image(row))[0],
            reference,
            *drawn,
            spacing=data.images.source_spacing(row),
        )
        yield overlays.Shown(
            f"{case.words}: {case.difference:+.3f}",
            overlays.said(
                case, dice=tuple(dice[:, at].tolist()), drawn=tuple(each[:, 0, at].tolist()), seeds=comparison.seeds
            ),
            overlays.picture(overlay, names=names),
        )


def _dice(run: Predictions, structures: list[str]) -> np.ndarray:
    """The mean over the structures that a case has (cases,); NaN for a case that has none."""
    metric = registry.load("metrics", BY)
    at = [int(np.flatnonzero(run.labels == structure)[0]) for structure in structures]
    every = np.arange(len(run.cases))
    values = np.array([metric.per_case(**run.of(metric.EVIDENCE, place, every)) for place in at])
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=np.full(len(total), np.nan), where=known.any(axis=0))


def _numbered(data: PreparedVolumes, row: int, structures: list[str]) -> np.ndarray:
    """The reference of a case, in which structures have the values that they have in predictions: uint8 (x, y, z)."""
    values = np.zeros(256, np.uint8)
    for number, structure in enumerate(structures, start=1):
        values[data.images.structures.index(structure) + 1] = number
    return values[data.images.reference(row)]


def _drawn(run: Predictions, outlined: Outlined, case: str, *, reference: Volume) -> np.ndarray:
    """What a run outlines in a case, uint8 (x, y, z) on the grid of the source; refuses what predict did not write."""
    file = outlines_of(run.file, target=outlined.target, case=case)
    remedy = f"delete {run.file}, and predict writes both again"
    if not file.is_file():
        raise UserError("is not there", file=file, remedy=remedy)
    drawn = read_nifti(file).turned("RAS")
    refuse_other_grid(drawn, image=reference, file=file, remedy=remedy)
    strange = ~np.isin(drawn.voxels, np.arange(len(outlined.structures) + 1))
    if strange.any():
        what = f"holds {drawn.voxels[strange][0]:g}, but its structures are 1 to {len(outlined.structures)}"
        raise UserError(what, file=file, remedy=remedy)
    voxels, at = drawn.voxels.astype(np.uint8), int(np.flatnonzero(run.cases == case)[0])
    for number, structure in enumerate(outlined.structures, start=1):
        one, other = voxels == number, reference.voxels == number
        told = run.of(COUNTED, int(np.flatnonzero(run.labels == structure)[0]), np.array([at]))
        found = {name: count(one, other) for name, count in COUNTED.items()}
        # of a structure that the reference does not have predictions count nothing
        if any(np.isfinite(told[name][0]) and told[name][0] != found[name] for name in COUNTED):
            raise UserError(f"outlines {structure!r} otherwise than its predictions say", file=file, remedy=remedy)
    return voxels
