"""Shows measured values as shades: through a window, as a radiologist sets it, or from the lowest to the highest.

Hounsfield units are kept until here, so that another window is a matter of loading, not of reading scans again.
"""

import numpy as np

from headwater.records import Record
from headwater.refusals import Refusal, did_you_mean


class Window(Record):
    """The values that are shown: `width` of them around `centre`, what is below black, what is above white."""

    centre: float
    width: float


WINDOWS = {
    "abdomen": Window(centre=60, width=400),
    "angiography": Window(centre=300, width=600),
    "bone": Window(centre=300, width=1500),
    "brain": Window(centre=40, width=80),
    "chest": Window(centre=40, width=400),
    "lung": Window(centre=-400, width=1500),
}
"""Windows in Hounsfield units: those that the code of arXiv 2410.14524 lists, and leaves switched off."""


def window_of(name: str) -> Window:
    """A window by its name; refused if there is none."""
    if name not in WINDOWS:
        raise Refusal(f"there is no window {name!r}", remedy=did_you_mean(name, WINDOWS))
    return WINDOWS[name]


def windowed(values: np.ndarray, window: Window) -> np.ndarray:
    """Shades 0 to 255 (uint8) of values through a window: LINEAR_EXACT of DICOM PS3.3 C.11.2.1.3.2."""
    if not window.width > 0:
        raise Refusal(f"a window of width {window.width:g} shows nothing", remedy="a width above 0")
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


def _shades(values: np.ndarray, *, black: np.ndarray | float, white: np.ndarray | float) -> np.ndarray:
    """Values from black to white as 0 to 255."""
    share = (values - np.float32(black)) / (np.float32(white) - np.float32(black))
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
