"""Resizing: images at the size at which an archive is prepared."""

import numpy as np
from PIL import Image

from headwater.data.lanczos import Grey
from headwater.study.ct_windows import AIR


def fitted(pixels: np.ndarray, *, size: int, resize: str, grey: Grey | None = None) -> np.ndarray:
    """An image (height, width) or (height, width, 3) as (channels, size, size), antialiased if it shrinks.

    "pad" keeps the aspect ratio and adds black, or air, evenly on both sides of the shorter axis; "squash" stretches.
    Grey values stay uint8 and Hounsfield units int16. `grey`: the same picture, if it is resized elsewhere too.
    """
    height, width = pixels.shape[:2]
    longer = max(height, width)
    # max: a very narrow image keeps at least one row or column
    shape = (
        (size, size) if resize == "squash" else tuple(max(1, round(side * size / longer)) for side in (height, width))
    )
    small = grey.resized(*shape[::-1]) if grey else _resized(pixels, shape)
    planes = small[None] if small.ndim == 2 else small.transpose(2, 0, 1)  # (channels, height, width)
    # of an odd number of pixels the larger part goes below or to the right
    margins = [((size - side) // 2, (size - side + 1) // 2) for side in shape]
    if not any(sum(pair) for pair in margins):
        return np.ascontiguousarray(planes)
    return np.pad(planes, [(0, 0), *margins], constant_values=AIR if pixels.dtype == np.int16 else 0)


def _resized(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The image at another height and width."""
    if pixels.ndim == 2 and pixels.dtype == np.uint8:
        return Grey(pixels).resized(*shape[::-1])
    hounsfield = pixels.dtype == np.int16
    # float, because Pillow resizes no signed 16-bit images; padding that scanners write around the field of view, far
    # below air, is raised to air, as its edge would ring in the air beside it
    picture = Image.fromarray(np.maximum(pixels, AIR).astype(np.float32) if hounsfield else pixels)
    small = np.asarray(picture.resize(shape[::-1], Image.Resampling.LANCZOS))
    # Lanczos overshoots at edges, possibly beyond int16
    return np.clip(np.rint(small), AIR, 2**15 - 1).astype(np.int16) if hounsfield else small
