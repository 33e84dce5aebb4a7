"""Masks: label maps whose values stand for structures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headwater.core.errors import UserError

BACKGROUND = 0


def numbered(voxels: np.ndarray, values: Sequence[int], *, file: Path) -> np.ndarray:
    """A mask in which the values of structures are replaced by 1, 2, 3, ...: uint8; refuses any other value."""
    result = np.zeros(voxels.shape, np.uint8)
    known = voxels == BACKGROUND
    for number, value in enumerate(values, start=1):
        here = voxels == value
        result[here], known = number, known | here
    if not known.all():
        value, what = voxels[~known].flat[0], "has values that stand for no structure"
        remedy = f"values are 0 and {', '.join(map(str, values))}"
        raise UserError(f"{what}, such as {value:g}", file=file, remedy=remedy, nameless=what)
    return result
