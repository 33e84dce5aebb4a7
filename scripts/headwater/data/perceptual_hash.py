"""Perceptual hashes: a few bits that stay nearly the same when an image is encoded again, resized or brightened.

The bits are those of ImageHash's `phash(image, hash_size=16)`, by which the ledger finds near-identical images, and of
its `dhash`, `phash` and `average_hash` at their default 64 bits, by which a corpus is reduced. Sketches, by which
edited copies are found, are kept beside them.
"""

import numpy as np
from PIL import Image
from scipy.fft import dct

from headwater.data import sketches
from headwater.data.io.windows import as_shades
from headwater.data.lanczos import Grey

SIDE = 16
"""Frequencies along either axis in the ledger's hash."""

OVERSAMPLED = 4
"""Pixels per frequency along either axis: ImageHash's `highfreq_factor`."""

BITS = SIDE * SIDE

LEDGER = BITS // 64
"""64-bit words of the ledger's hash, which come first."""

SHORT = 8
"""Bits along either axis of the hashes by which a corpus is reduced."""

KINDS = ("difference", "perceptual", "average")
"""The hashes by which a corpus is reduced, one word each, in their order after the ledger's."""

SHORTEST = LEDGER + len(KINDS)
"""Words of one image in archives that were prepared before there were sketches."""

WORDS = SHORTEST + sketches.WORDS
"""Words of one image; its sketches come last."""


def every(pixels: np.ndarray | Grey) -> np.ndarray:
    """All hashes of one image, uint8 (height, width) or (height, width, 3), as uint64 (words,).

    A slice in Hounsfield units, int16, is hashed as grey values from its lowest to its highest value.
    """
    grey = pixels if isinstance(pixels, Grey) else as_grey(pixels)
    short = [difference(grey), perceptual(grey, side=SHORT), average(grey)]
    return np.concatenate([perceptual(grey, side=SIDE), *short, sketches.both(grey.picture)])


def as_grey(pixels: np.ndarray) -> Grey:
    """What is hashed of an image as above."""
    shades = as_shades(pixels)
    return Grey(shades if shades.ndim == 2 else np.asarray(Image.fromarray(shades).convert("L")))


def of_ledger(words: np.ndarray) -> np.ndarray:
    """The words by which the ledger compares images: hash and sketches, blank ones for images that have none."""
    blank = np.full((len(words), sketches.WORDS), sketches.BLANK, np.uint64)
    return np.concatenate([words[:, :LEDGER], words[:, SHORTEST:] if words.shape[1] == WORDS else blank], axis=1)


def perceptual(grey: Grey, *, side: int) -> np.ndarray:
    """Hash by the low frequencies (phash): whether each is above their median."""
    # in ImageHash's order, columns before rows: the other order rounds differently and could flip a bit
    lowest = dct(dct(grey.resized(OVERSAMPLED * side, OVERSAMPLED * side), axis=0), axis=1)[:side, :side]
    # their median: there is an even number of them
    below, above = np.sort(lowest, axis=None)[side * side // 2 - 1 :][:2]
    return _words(lowest > (below + above) / 2)


def difference(grey: Grey) -> np.ndarray:
    """Hash by differences (dhash): whether each pixel is brighter than its left neighbour."""
    small = grey.resized(SHORT + 1, SHORT)
    return _words(small[:, 1:] > small[:, :-1])


def average(grey: Grey) -> np.ndarray:
    """Hash by the mean (average_hash): whether each pixel is above it."""
    small = grey.resized(SHORT, SHORT)
    return _words(small > small.mean())


def _words(bits: np.ndarray) -> np.ndarray:
    """Bits row by row as uint64, most significant first, as ImageHash prints them."""
    return np.packbits(bits).view(">u8").astype(np.uint64)
