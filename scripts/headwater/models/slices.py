"""Slices: what networks for pictures see of volumes, and what they outline there, put back where the slice lies.

Slices lie as radiologists look at them: axial ones from below, coronal ones from the front, sagittal ones from the
left. So rows grow to posterior or inferior and columns to left or posterior, against the axes of a volume, which
grow to right, anterior and superior.
"""

from torch import Tensor

from headwater.core.errors import UserError


def depth_of(size: int | tuple[int, ...], *, dimensions: int) -> int | None:
    """The axis (-3, -2 or -1) across which a slice lies that is one voxel of a volume; None for whole images."""
    if dimensions == 3 or isinstance(size, int):
        return None
    if len(size) != 3 or size.count(1) != 1:
        raise UserError(
            f"networks for pictures see slices, and {list(size)} voxels are none", remedy="set slices of the source"
        )
    return size.index(1) - 3


def sides_of(size: int | tuple[int, ...], *, depth: int | None) -> int | tuple[int, ...]:
    """The size of images that a network gets: that of a slice is the side of a square, or (rows, columns)."""
    if depth is None:
        return size
    columns, rows = (side for axis, side in enumerate(size, start=-3) if axis != depth)
    return rows if rows == columns else (rows, columns)


def as_pictures(volumes: Tensor, *, depth: int | None) -> Tensor:
    """Volumes (..., x, y, z) of one voxel across as pictures (..., rows, columns); whole images as they are."""
    return volumes if depth is None else volumes.squeeze(depth).transpose(-1, -2).flip(-1, -2)


def as_volumes(pictures: Tensor, *, depth: int | None) -> Tensor:
    """Pictures (..., rows, columns) as volumes (..., x, y, z) of one voxel across; whole images as they are."""
    return pictures if depth is None else pictures.flip(-1, -2).transpose(-1, -2).unsqueeze(depth)
