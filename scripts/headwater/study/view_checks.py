"""Mistakes in a config about views: sizes in which networks see pictures that are not smaller than they are stored."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from headwater.core import registry
from headwater.study.archive import Archive, is_flat, ndim_of

if TYPE_CHECKING:
    from headwater.study.config import Config


def mistakes(config: "Config") -> Iterable[str]:
    """One line for each `view` that is larger than the pictures, or that nothing is seen in."""
    for name, archive in config.archives.items():
        if archive.view:
            yield from _of(f"archives.{name}.view", archive.view, archive)
    for name, dataset in config.datasets.items():
        if dataset.view and dataset.archive in config.archives:
            yield from _of(f"datasets.{name}.view", dataset.view, config.archives[dataset.archive])
    for name, source in config.sources.items():
        if source.view and not source.method:
            yield f"sources.{name}.view: this source is not pre-trained here; remove it, or set datasets.NAME.view"
        elif source.view and source.corpus in config.archives:
            yield from _of(f"sources.{name}.view", source.view, config.archives[source.corpus])


def _of(place: str, view: int, archive: Archive) -> Iterable[str]:
    """A view of volumes, which are seen in patches, and one that would enlarge pictures."""
    if archive.kind.name not in registry.names("datasets"):
        return
    if ndim_of(archive) == 3:
        held = "pictures with masks" if is_flat(archive) else "volumes"
        yield f"{place}: {archive.name} holds {held}, which are seen in patches of their `size`; remove it"
    elif isinstance(archive.size, int) and view > archive.size:
        remedy = f"lower it, or set archives.{archive.name}.size: {view}"
        yield f"{place}: {view} pixels are more than pictures of {archive.size} pixels have; {remedy}"
