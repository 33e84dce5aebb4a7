"""Input contract: whether networks of volumes are fed as their published weights were trained, and what to change.

Another window or another distance between voxels raises no error: the weights merely help less, and the comparison
blames them. So each difference is refused, unless the config says that it is wanted; then it is a
footnote of the tables.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.study import adaptation_plan
from headwater.study.archive import Archive, ndim_of, seen_of
from headwater.study.ct_windows import Window
from headwater.study.grid import Grid
from headwater.study.intensity import Intensity
from headwater.study.source import Source

if TYPE_CHECKING:
    from headwater.study.config import Config

CHANNELS = 1

KINDS = ("spacing", "intensity", "patch", "channels")
"""In what archives may feed otherwise than in the training of weights."""

NATIVE = "native"
"""The spacing of volumes that are not resampled."""

UNIT = "unit"
"""Values from 0 to 1, however they came about."""

UNEVEN = 0.01
"""Millimetres by which distances between voxels may differ: files round them."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One way in which an archive feeds a source's networks otherwise than their weights were trained."""

    kind: str
    """As the config names it: spacing, intensity, patch or channels."""
    source: str
    archive: str
    trained: str
    """What the weights were trained on, for people."""
    fed: str
    """What the archive feeds."""
    remedy: str
    """How to feed what they were trained on; empty where that cannot be."""

    def __str__(self) -> str:
        return f"{self.kind} {self.fed} of {self.archive}, but {self.trained} in the training of its weights"


def mistakes(config: "Config") -> Iterable[str]:
    """A line for each difference that the config does not name, and for each that it names and is none."""
    archives = config.archives.values()
    for source in config.sources.values():
        if source.weights is None or source.weights.layout.name not in registry.names("weights"):
            continue
        used = _archives_of(source.name, config.sources.values(), config.datasets.values())
        excused, place = source.weights.fed_otherwise, f"sources.{source.name}.weights"
        if unseen(source):
            # the check of files says that there is none
            continue
        try:
            found = list(_of(source, [archive for archive in archives if archive.name in used]))
        except UserError as refusal:
            yield f"{place}.path: {refusal}"
            continue
        for difference in found:
            if difference.kind not in excused:
                instead = f"{difference.remedy}, or " if difference.remedy else ""
                yield f"{place}: {difference}; {instead}set {place}.fed_otherwise: [{difference.kind}]"
        for kind in excused:
            if kind not in {difference.kind for difference in found}:
                yield f"{place}.fed_otherwise: {kind} is as in the training of the weights; remove it"


def differences(grid: Grid) -> list[Difference]:
    """All differences of a grid's sources, which its config names one by one."""
    sources = [source for source in grid.sources if not source.control]
    found = []
    for source in sources:
        used = _archives_of(source.name, sources, grid.datasets)
        found += _of(source, [archive for archive in grid.archives if archive.name in used])
    return found


def _archives_of(name: str, sources: Iterable[Source], datasets: Iterable[Any]) -> set[str]:
    """The archives whose volumes a source's weights meet: of datasets, and of corpora that go on from them."""
    further = [source for source in sources if source.start == name]
    fitted = {name, *(source.name for source in further)}
    corpora = {archive for source in further for archive in source.archives}
    return corpora | {dataset.archive for dataset in datasets if any(map(dataset.takes, fitted))}


def _of(source: Source, archives: Iterable[Archive]) -> Iterator[Difference]:
    """The differences between what a source's weights were trained on and what archives of volumes feed."""
    if source.weights is None or unseen(source):
        return
    stated = _stated(source)
    # volumes are turned to the orientation of the weights, which so never differs
    checks = {"spacing": _spacing, "intensity": _intensity, "patch": _patch, "channels": _channels}
    for archive in archives:
        if ndim_of(archive) != 3:
            continue
        for kind, check in checks.items():
            # networks for pictures were trained on values from 0 to 1, which their normalisation is about
            usual = UNIT if source.slices and kind == "intensity" else None
            trained = stated.get(kind, usual)
            told = None if trained is None else check(trained, archive)
            if told:
                named = dict(zip(("trained", "fed", "remedy"), told, strict=True))
                yield Difference(kind=kind, source=source.name, archive=archive.name, **named)


def unseen(source: Source) -> bool:
    """Whether it is the weights file that says what it was trained on, and there is no such file."""
    return _planned(source) and not Path(source.weights.path).is_file()


def _planned(source: Source) -> bool:
    return registry.constant("weights", source.weights.layout.name, "PLANNED", default=False)


def _stated(source: Source) -> dict[str, Any]:
    """What weights were trained on, by kind: as their layout states it, and before that the plan in their file."""
    layout = source.weights.layout.name
    stated = {kind: registry.constant("weights", layout, kind.upper(), default=None) for kind in KINDS}
    plan = adaptation_plan.read(Path(source.weights.path)) if _planned(source) else None
    return {kind: value for kind, value in (stated | (plan.trained if plan else {})).items() if value is not None}


def _spacing(trained: tuple[float, ...] | str, archive: Archive) -> tuple[str, str, str] | None:
    """Distances in millimetres; those of each file, or their median, are known only when volumes are read."""
    fed = archive.spacing
    told = fed if isinstance(fed, str) else _across(fed)
    if trained == NATIVE:
        remedy = f"set archives.{archive.name}.spacing: {NATIVE}"
        return None if fed == NATIVE else ("each volume's own", told, remedy)
    if isinstance(fed, tuple) and all(math.isclose(*pair, abs_tol=UNEVEN) for pair in zip(fed, trained, strict=True)):
        return None
    listed = [f"{value:g}" for value in trained]
    return f"{_across(trained)} mm", told, f"set archives.{archive.name}.spacing: [{', '.join(listed)}]"


def _patch(trained: tuple[int, ...], archive: Archive) -> tuple[str, str, str] | None:
    if archive.patch == trained:
        return None
    remedy = f"set archives.{archive.name}.size: {list(trained)}"
    return f"{_across(trained)} voxels", _across(archive.patch), remedy


def _channels(trained: int, archive: Archive) -> tuple[str, str, str] | None:
    return None if trained == CHANNELS else (str(trained), str(CHANNELS), "")


def _intensity(trained: str | tuple[str, float, float], archive: Archive) -> tuple[str, str, str] | None:
    """How values are shown: a window in Hounsfield units, z-scores, or from one percentile to another."""
    if trained == UNIT:
        return _unit(archive)
    if isinstance(trained, str) and trained != "zscore":
        fed_kind, *fed_ends = _shown(seen_of(archive))
        return trained, _told(fed_kind, fed_ends), ""
    kind, *ends = (trained,) if isinstance(trained, str) else trained
    seen = seen_of(archive)
    fed_kind, *fed_ends = _shown(seen)
    if kind == fed_kind and all(math.isclose(*pair, abs_tol=1e-6) for pair in zip(ends, fed_ends, strict=True)):
        return None
    remedy = ""
    if kind == "window" and isinstance(seen, Window):
        centre, width = (ends[0] + ends[1]) / 2, ends[1] - ends[0]
        remedy = f"set archives.{archive.name}.window: {{centre: {centre:g}, width: {width:g}}}"
    elif kind != "window" and isinstance(seen, Intensity):
        told = kind if kind == "zscore" else f"{{percentiles: [{ends[0]:g}, {ends[1]:g}]}}"
        remedy = f"set archives.{archive.name}.intensity: {told}"
    return _told(kind, ends), _told(fed_kind, fed_ends), remedy


def _unit(archive: Archive) -> tuple[str, str, str] | None:
    """Z-scores where networks take values from 0 to 1: their own mean would be subtracted once more."""
    if _shown(seen_of(archive)) != ("zscore",):
        return None
    return (
        "values from 0 to 1",
        _told("zscore", []),
        f"set archives.{archive.name}.intensity: {{percentiles: [0.5, 99.5]}}",
    )


def _shown(seen: Window | Intensity | None) -> tuple:
    """How an archive's values are shown, as layouts say it."""
    if isinstance(seen, Window):
        return ("window", seen.centre - seen.width / 2, seen.centre + seen.width / 2)
    if isinstance(seen, Intensity) and seen.percentiles:
        return ("percentiles", *seen.percentiles)
    return ("zscore",)


def _told(kind: str, ends: list[float]) -> str:
    """How values are shown, for people."""
    if kind == "zscore":
        return "z-scores"
    low, high = (f"{value:g}" for value in ends)
    return f"{low} to {high} HU" if kind == "window" else f"percentiles {low} to {high}"


def _across(values: Iterable[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
