"""What networks for volumes have in common: cubes that they can halve, and one row of features for each."""

from torch import Tensor

from headwater.core.errors import UserError


def pooled(x: Tensor) -> Tensor:
    """The mean (batch, channels) over all places of (batch, channels, depth, height, width)."""
    return x.mean(dim=(2, 3, 4))


def check(name: str, *, size: int, multiple: int) -> None:
    """Refuse a side length in voxels that the network cannot halve as often as it must."""
    if size < multiple or size % multiple:
        nearest = max(1, round(size / multiple)) * multiple
        raise UserError(
            f"{name} takes volumes of multiples of {multiple} voxels, not {size}", remedy=f"use size {nearest}"
        )
