"""What networks for volumes share: side lengths that can be halved, and average pooling of their features."""

from torch import Tensor

from headwater.core.errors import UserError


def pooled(x: Tensor) -> Tensor:
    """The mean (batch, channels) over all positions of (batch, channels, x, y, z)."""
    return x.mean(dim=(2, 3, 4))


def check(name: str, *, size: int | tuple[int, ...], multiple: int, least: int = 0) -> None:
    """Refuse side lengths in voxels, one or three, that are not multiples of the network's total downsampling."""
    sides = size if isinstance(size, tuple) else (size,)
    least = least or multiple
    if len(sides) not in (1, 3):
        raise UserError(f"{name} takes volumes (got {len(sides)} sides)", remedy="give size as one side or three")
    if any(side < least or side % multiple for side in sides):
        nearest = tuple(max(least, round(side / multiple) * multiple) for side in sides)
        smallest = f", at least {least}" if least > multiple else ""
        raise UserError(
            f"size of volumes for {name} must be a multiple of {multiple} voxels{smallest} (got {size})",
            remedy=f"use size {list(nearest) if len(nearest) > 1 else nearest[0]}",
        )
