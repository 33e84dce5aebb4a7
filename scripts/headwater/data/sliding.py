"""Sliding windows: how many patches cover a volume, counted alike by what predicts and by what plans."""

import math
from collections.abc import Sequence

OVERLAP = 0.5
"""Overlap of the windows in which structures are outlined (nnU-Net: Isensee 2021, supplementary note 2)."""


def windows(sides: Sequence[int], patch: Sequence[int], *, overlap: float = 0.0) -> int:
    """The windows of the sides of a patch that cover a volume, all in voxels; as MONAI's sliding windows lie.

    A volume that is smaller than the patch along an axis is padded there. Windows do not overlap more than they must,
    or by `overlap`, a share of the patch.
    """
    many = 1
    for side, seen in zip(sides, patch, strict=True):
        many *= 1 + math.ceil(max(0, side - seen) / max(1, int(seen * (1 - overlap))))
    return many
