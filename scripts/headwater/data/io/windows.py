"""Converts measured values to grey levels: through a CT window, or from the lowest value to the highest.

Hounsfield units are stored until here, so that another window needs no scan to be read again.
"""

import numpy as np

from headwater.study.ct_windows import AIR, Window


def windowed(values: np.ndarray, window: Window) -> np.ndarray:
    """Grey levels 0 to 255 (uint8) through a window: LINEAR_EXACT of DICOM PS3.3 C.11.2.1.3.2."""
    if window.slice:
        return lowest_to_highest(values, floor=AIR)
    return _shades(values, black=window.centre - window.width / 2, white=window.centre + window.width / 2)


def lowest_to_highest(slices: np.ndarray, *, floor: float = -np.inf) -> np.ndarray:
    """Grey levels 0 to 255 (uint8) of slices (..., rows, columns), each from its lowest to its highest value.

    As in arXiv 2410.14524 before pre-training on CT, with a `floor` of -1024 for the padding that scanners write around
    the patient. A single metal clip changes the grey levels of its whole slice; a slice of one value is black.
    """
    floored = np.maximum(slices, np.float32(floor))
    black = floored.min(axis=(-2, -1), keepdims=True)
    white = floored.max(axis=(-2, -1), keepdims=True)
    # one more than black where all values are equal, so that the division is defined
    return _shades(floored, black=black, white=np.where(white > black, white, black + 1))


def as_shades(pixels: np.ndarray) -> np.ndarray:
    """Pixels as uint8: grey levels unchanged, Hounsfield units (int16) from the lowest value of a slice to its highest.

    Values below air count as air. For whatever compares pictures without a window, such as their hashes.
    """
    return lowest_to_highest(pixels, floor=AIR) if pixels.dtype == np.int16 else pixels


def is_blank(pixels: np.ndarray) -> bool:
    """Whether a picture or slice shows nothing: one value or colour throughout, where values below air count as air."""
    # most show something in a few of their rows already
    return all(_is_of_one_value(part) for part in (pixels[:: max(1, len(pixels) // 8)], pixels))


def _is_of_one_value(pixels: np.ndarray) -> bool:
    # scanners write padding around the field of view
    shown = np.maximum(pixels, AIR) if pixels.dtype == np.int16 else pixels
    return bool((shown == shown[0, 0]).all())


def _shades(values: np.ndarray, *, black: np.ndarray | float, white: np.ndarray | float) -> np.ndarray:
    """Values as grey levels, `black` as 0 and `white` as 255."""
    share = (values - np.float32(black)) / (np.float32(white) - np.float32(black))
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
