"""Shows measured values as shades: through a window, as a radiologist sets it, or from the lowest to the highest.

Hounsfield units are kept until here, so that another window is a matter of loading, not of reading scans again.
"""

import numpy as np

from headwater.study.ct_windows import AIR, Window


def windowed(values: np.ndarray, window: Window) -> np.ndarray:
    """Shades 0 to 255 (uint8) of values through a window: LINEAR_EXACT of DICOM PS3.3 C.11.2.1.3.2."""
    if window.slice:
        return lowest_to_highest(values, floor=AIR)
    return _shades(values, black=window.centre - window.width / 2, white=window.centre + window.width / 2)


def lowest_to_highest(slices: np.ndarray, *, floor: float = -np.inf) -> np.ndarray:
    """Shades 0 to 255 (uint8) of slices (..., rows, columns), each from its lowest to its highest value.

    As arXiv 2410.14524 did before it pre-trained on CT, with a `floor` of -1024 for what scanners write around the
    patient. One metal clip changes the shade of all that is in its slice; a slice of one value is black.
    """
    raised = np.maximum(slices, np.float32(floor))
    black = raised.min(axis=(-2, -1), keepdims=True)
    white = raised.max(axis=(-2, -1), keepdims=True)
    return _shades(raised, black=black, white=np.where(white > black, white, black + 1))


def as_shades(pixels: np.ndarray) -> np.ndarray:
    """Pixels as uint8: shades stay, Hounsfield units (int16) of a slice go from its lowest value to its highest.

    What is below air counts as air. For whatever compares pictures and knows no window, such as their hashes.
    """
    return lowest_to_highest(pixels, floor=AIR) if pixels.dtype == np.int16 else pixels


def _shades(values: np.ndarray, *, black: np.ndarray | float, white: np.ndarray | float) -> np.ndarray:
    """Values from black to white as 0 to 255."""
    share = (values - np.float32(black)) / (np.float32(white) - np.float32(black))
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
