"""Orientation: volumes turned to the axes on which published networks were trained, and their maps turned back.

Letters say what an array's axes grow to: right or left, anterior or posterior, superior or inferior.
"""

from collections.abc import Mapping

from torch import Tensor

from headwater.core.errors import UserError

OURS = "RAS"
"""The axes of prepared volumes: x, y and z."""

AXES = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}


def of(metadata: Mapping[str, str], *, file: object, remedy: str) -> str:
    """The orientation in the metadata of a weights file by headwater; ours if they name none."""
    named = metadata.get("orientation", OURS)
    if sorted(AXES.get(letter, -1) for letter in named) != [0, 1, 2]:
        raise UserError(f"names no orientation of three axes, but {named!r}", file=file, remedy=remedy)
    return named


def turned(volumes: Tensor, orientation: str) -> Tensor:
    """Volumes (batch, channels, x, y, z) in another orientation, without a copy where it is the same."""
    if orientation == OURS:
        return volumes
    moved = volumes.permute(0, 1, *(2 + AXES[letter] for letter in orientation))
    return moved.flip(_against(orientation))


def turned_back(volumes: Tensor, orientation: str) -> Tensor:
    """Volumes or maps of features in another orientation as (batch, channels, x, y, z)."""
    if orientation == OURS:
        return volumes
    upright = volumes.flip(_against(orientation))
    places = [AXES[letter] for letter in orientation]
    return upright.permute(0, 1, *(2 + places.index(axis) for axis in range(3)))


def _against(orientation: str) -> list[int]:
    """The axes of a tensor that grow against ours."""
    return [2 + place for place, letter in enumerate(orientation) if letter not in OURS]
