"""Hashes of images: few bits that stay nearly the same when a picture is encoded anew, resized or brightened.

The bits are those of ImageHash's `phash(image, hash_size=16)`, by which the ledger finds images that look alike, and of
its `dhash`, `phash` and `average_hash` at their usual 64 bits, by which a corpus is reduced.
"""

import numpy as np
from PIL import Image
from scipy.fft import dct

from headwater.data.io.windows import as_shades

SIDE = 16
"""Frequencies along either axis that the ledger's hash keeps."""

OVERSAMPLED = 4
"""Pixels along either axis for each frequency."""

BITS = SIDE * SIDE

LEDGER = BITS // 64
"""Words of the ledger's hash, which come first."""

SHORT = 8
"""Bits along either axis of the hashes by which a corpus is reduced."""

KINDS = ("difference", "perceptual", "average")
"""These hashes, one word each, in order behind the ledger's."""

WORDS = LEDGER + len(KINDS)


def every(pixels: np.ndarray) -> np.ndarray:
    """All hashes of one image, uint8 (height, width) or (height, width, 3), as uint64 (words,).

    Of a slice in Hounsfield units, int16, those of its shades from the lowest to the highest.
    """
    grey = Image.fromarray(as_shades(pixels)).convert("L")
    short = [difference(grey), perceptual(grey, side=SHORT), average(grey)]
    return np.concatenate([perceptual(grey, side=SIDE), *short])


def perceptual(grey: Image.Image, *, side: int) -> np.ndarray:
    """Which of the lowest frequencies are above their median."""
    # columns first, then rows, as ImageHash has it: rounding could turn a bit
    lowest = dct(dct(_small(grey, OVERSAMPLED * side, OVERSAMPLED * side), axis=0), axis=1)[:side, :side]
    return _words(lowest > np.median(lowest))


def difference(grey: Image.Image) -> np.ndarray:
    """Where it grows brighter from left to right."""
    small = _small(grey, SHORT + 1, SHORT)
    return _words(small[:, 1:] > small[:, :-1])


def average(grey: Image.Image) -> np.ndarray:
    """Where it is brighter than its mean."""
    small = _small(grey, SHORT, SHORT)
    return _words(small > small.mean())


def _small(grey: Image.Image, width: int, height: int) -> np.ndarray:
    return np.asarray(grey.resize((width, height), Image.Resampling.LANCZOS))


def _words(bits: np.ndarray) -> np.ndarray:
    """Bits row by row as uint64, the first the highest, as ImageHash prints them."""
    return np.packbits(bits).view(">u8").astype(np.uint64)
