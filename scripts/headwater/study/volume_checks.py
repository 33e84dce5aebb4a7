"""Mistakes in a config about volumes: keys that pictures lack, values shown in two ways, networks for pictures."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from headwater.core import registry
from headwater.study.archive import Archive, is_flat, ndim_of, usual_window
from headwater.study.idle_keys import changed
from headwater.study.source import Source

if TYPE_CHECKING:
    from headwater.study.config import Config

OF_VOLUMES, OF_PICTURES = ("spacing", "intensity"), ("resize", "projections")
"""Keys of archives that have an effect on volumes only, and on pictures only."""

KINDS = {2: "pictures or slices", 3: "volumes"}

PLANE = "axial"
"""The plane of pictures that are prepared as volumes of one slice."""


def mistakes(config: "Config") -> Iterable[str]:
    """One line for each key that does not fit the kind of an archive's images, and each source that does not."""
    known = registry.names("datasets")
    for name, archive in config.archives.items():
        if archive.kind.name in known:
            yield from _of_volumes(name, archive) if ndim_of(archive) == 3 else _of_pictures(name, archive)
    for source in config.sources.values():
        yield from _other_dimensions(config, source)
        yield from _of_corpus(config, source)
        yield from _of_probe(config, source)


def _of_pictures(name: str, archive: Archive) -> Iterable[str]:
    """Keys of volumes at pictures."""
    for key in changed(archive, *OF_VOLUMES):
        yield f"archives.{name}.{key}: {archive.kind.name} holds {KINDS[2]}, not volumes; remove it"
    if not isinstance(archive.size, int):
        yield f"archives.{name}.size: {archive.kind.name} holds {KINDS[2]}, which become squares; give one number"


def _of_volumes(name: str, archive: Archive) -> Iterable[str]:
    """Keys of pictures at volumes, and values that would be shown in two ways or slice by slice."""
    for key in changed(archive, *OF_PICTURES):
        yield f"archives.{name}.{key}: {archive.kind.name} holds volumes, which have no such setting; remove it"
    if is_flat(archive) and not isinstance(archive.spacing, str) and archive.spacing[2] != 1:
        yield f"archives.{name}.spacing: pictures are 1 thick; end it with 1 (got {archive.spacing[2]:g})"
    if archive.images_of:
        yield f"archives.{name}.images_of: labels of volumes cannot be read a second time; remove it"
    if archive.intensity and usual_window(archive):
        why = f"{archive.kind.name} holds Hounsfield units, which `window` shows"
        yield f"archives.{name}.intensity: {why}; remove it"
    elif archive.intensity and archive.window:
        yield f"archives.{name}.intensity: values can be shown in one way only; remove it or `window`"
    if archive.window and archive.window.slice:
        yield f"archives.{name}.window: a patch of a volume has no slices of its own; name a window, or give its range"


def _other_dimensions(config: "Config", source: Source) -> Iterable[str]:
    """Networks for pictures that are given volumes whole, and slices of volumes that no network is given."""
    if source.backbone.partition("/")[0] not in registry.names("backbones"):
        return
    place, used = f"sources.{source.name}", seen_by(config, source)
    volumes = [archive for archive in used if ndim_of(archive) == 3]
    yield from _of_flat(source, place=place, flat=[archive for archive in volumes if is_flat(archive)])
    volumes = [archive for archive in volumes if not is_flat(archive)]
    if source.slices and source.dimensions == 3:
        yield f"{place}.slices: {source.backbone} takes {KINDS[3]}, not their slices; remove it"
    elif source.slices and used and all(ndim_of(archive) == 2 for archive in used):
        yield f"{place}.slices: all that it sees are {KINDS[2]}; remove it"
    for archive in volumes if source.dimensions == 2 and not source.slices else ():
        yield (
            f"{place}.backbone: {source.backbone} takes {KINDS[2]}, but archives.{archive.name} holds {KINDS[3]};"
            f" set {place}.slices: axial, coronal or sagittal, or choose a backbone for {KINDS[3]}"
        )


def _of_flat(source: Source, *, place: str, flat: list[Archive]) -> Iterable[str]:
    """Networks for volumes, or for slices in another plane, that are given pictures of one slice."""
    for archive in flat:
        holds = f"archives.{archive.name} holds pictures with masks, which are {PLANE} slices"
        if source.dimensions == 3:
            remedy = f"choose a backbone for {KINDS[2]}, and set {place}.slices: {PLANE}"
            yield f"{place}.backbone: {source.backbone} takes {KINDS[3]}, but {holds}; {remedy}"
        elif source.slices != PLANE:
            yield f"{place}.slices: {holds}; set {PLANE}"


def seen_by(config: "Config", source: Source) -> list[Archive]:
    """The archives whose images a source's networks see, each once."""
    fitted = [dataset.archive for dataset in config.datasets.values() if dataset.takes(source.name)]
    names = dict.fromkeys([*source.archives, *fitted])
    return [config.archives[name] for name in names if name in config.archives]


def _of_corpus(config: "Config", source: Source) -> Iterable[str]:
    """Reductions that compare pictures, of a corpus of volumes."""
    corpus, reduction = config.archives.get(source.corpus or ""), config.reductions.get(source.reduction)
    if not corpus or not reduction or corpus.kind.name not in registry.names("datasets") or ndim_of(corpus) != 3:
        return
    if reduction.name in registry.names("reductions") and registry.constant(
        "reductions", reduction.name, "OF_PICTURES", default=False
    ):
        yield (
            f"sources.{source.name}.reduction: {reduction.name} compares {KINDS[2]}, but archives.{corpus.name} holds"
            f" {KINDS[3]}; use another reduction"
        )


def _of_probe(config: "Config", source: Source) -> Iterable[str]:
    """Probes on pictures of networks that learn from volumes, and the reverse."""
    corpus = config.archives.get(source.corpus or "")
    for key, probe in source.probes.items():
        archive = config.archives.get(probe.archive)
        if corpus and archive and ndim_of(archive) != ndim_of(corpus):
            holds, other = KINDS[ndim_of(archive)], KINDS[ndim_of(corpus)]
            yield f"sources.{source.name}.{key}.archive: holds {holds}, but the corpus {other}; name another archive"
