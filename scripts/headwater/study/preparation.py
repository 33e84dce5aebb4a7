"""Preparation: how the images of an archive were prepared, which a network expects of every other image as well."""

from typing import Literal

from headwater.core import registry
from headwater.core.records import Record
from headwater.study.archive import Archive, ndim_of, window_of


class Preparation(Record):
    """What was done with each image of an archive; its size is that of the network, or what a model says is stored."""

    ndim: Literal[2, 3] = 2
    """Dimensions of an image: 2 for pictures and slices, 3 for volumes."""
    resize: Literal["pad", "squash"] = "pad"
    """Whether pictures keep their aspect ratio."""
    bits: int | Literal["guessed"] = "guessed"
    """Bits that the values of grey pictures in 16 bits have."""
    hounsfield: bool = False
    """Whether values are Hounsfield units."""
    spacing: tuple[float, float, float] | None = None
    """Millimetres between the voxels of prepared volumes; none where each keeps its own."""


def of(archive: Archive, *, spacing: tuple[float, float, float] | None = None) -> Preparation:
    """How an archive is prepared; `spacing` is that which its volumes got."""
    kind = archive.kind.name
    own = registry.constant("datasets", kind, "BITS", default="guessed")
    return Preparation(
        ndim=ndim_of(archive),
        resize=archive.resize,
        bits=getattr(registry.chosen("datasets", archive.kind), "bits", own),
        hounsfield=window_of(archive) is not None,
        spacing=spacing,
    )
