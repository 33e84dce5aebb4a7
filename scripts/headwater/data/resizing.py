"""Resizing: an image at the size that an archive is prepared at."""

import numpy as np
from PIL import Image

from headwater.study.ct_windows import AIR


def fitted(pixels: np.ndarray, *, size: int, resize: str) -> np.ndarray:
    """An image (height, width) or (height, width, 3) as (channels, size, size), smoothed where it shrinks.

    "pad" keeps the aspect ratio and adds black, or air, at the shorter side, evenly on both; "squash" stretches. Shades
    stay uint8 and Hounsfield units int16.
    """
    height, width = pixels.shape[:2]
    longer = max(height, width)
    shape = (
        (size, size) if resize == "squash" else tuple(max(1, round(side * size / longer)) for side in (height, width))
    )
    small = _resized(pixels, shape)
    planes = small[None] if small.ndim == 2 else small.transpose(2, 0, 1)  # (channels, height, width)
    margins = [((size - side) // 2, (size - side + 1) // 2) for side in shape]
    return np.pad(planes, [(0, 0), *margins], constant_values=AIR if pixels.dtype == np.int16 else 0)


def _resized(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The image at another height and width; Hounsfield units as floats in between, because Pillow knows no signs.

    What scanners write around the patient counts as air, or its edge would ring in the air beside it.
    """
    hounsfield = pixels.dtype == np.int16
    picture = Image.fromarray(np.maximum(pixels, AIR).astype(np.float32) if hounsfield else pixels)
    small = np.asarray(picture.resize(shape[::-1], Image.Resampling.LANCZOS))
    return np.clip(np.rint(small), AIR, 2**15 - 1).astype(np.int16) if hounsfield else small
