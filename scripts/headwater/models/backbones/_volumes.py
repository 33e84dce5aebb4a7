"""What networks for volumes share: side lengths that can be halved, and average pooling of their features."""

from torch import Tensor

from headwater.core.errors import UserError


def pooled(x: Tensor) -> Tensor:
    """The mean (batch, channels) over all positions of (batch, channels, depth, height, width)."""
    return x.mean(dim=(2, 3, 4))


def check(name: str, *, size: int, multiple: int) -> None:
    """Refuse a side length in voxels that is not a multiple of the network's total downsampling."""
    if size < multiple or size % multiple:
        nearest = max(1, round(size / multiple)) * multiple
        raise UserError(
            f"size of volumes for {name} must be a multiple of {multiple} voxels (got {size})",
            remedy=f"use size {nearest}",
        )
