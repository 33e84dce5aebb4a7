"""Perceptual hashes of volumes: bits that stay the same when a volume is resampled, turned, rescaled or converted.

They are those of pictures (perceptual_hash.py) with one dimension more, and fill the same words, so that the ledger
compares volumes as it compares pictures. They are computed on what lies above the background, turned to RAS, so that
neither spacing nor margins matter. A volume of one axial slice is hashed as the picture that it is.
"""

from collections.abc import Sequence

import numpy as np
from scipy.fft import dctn

from headwater.data import perceptual_hash, sketches
from headwater.data.geometry import box_of, sampled
from headwater.data.perceptual_hash import BITS

SIDE = 32
"""Voxels along each axis of the small volume that is transformed."""

SHORT = 4
"""Bits along each axis of the hashes by which a corpus is reduced."""

REACH = 12
"""Frequencies along each axis, in millimetres as many waves over the whole width, among which the lowest are kept."""


def every(values: np.ndarray) -> np.ndarray:
    """All hashes of a volume (x, y, z) in orientation RAS, as uint64 (words,); its sketches are blank."""
    if values.shape[2] == 1:
        # with its sketches, as a picture has them
        return perceptual_hash.every(_picture(values))
    inside = values[box_of(values > values.min())]
    small = sampled(inside, (SIDE, SIDE, SIDE))
    ledger = _perceptual(small, _LOWEST)
    short = [_difference(inside), _perceptual(small, _SHORTEST), _average(inside)]
    blank = np.full(sketches.WORDS, sketches.BLANK, np.uint64)
    return np.concatenate([_words(ledger), *map(_words, short), blank])


def _picture(values: np.ndarray) -> np.ndarray:
    """An axial slice as radiologists look at it: grey from its lowest to its highest value, uint8 (rows, columns)."""
    seen, low = values[::-1, ::-1, 0].T, values.min()
    return np.rint((seen - low) * (255 / max(values.max() - low, 1e-8))).astype(np.uint8)


def _perceptual(small: np.ndarray, frequencies: Sequence[np.ndarray]) -> np.ndarray:
    """Whether each of some frequencies is above their median."""
    waves = dctn(small, norm="ortho")[tuple(frequencies)]
    return waves > np.median(waves)


def _difference(values: np.ndarray) -> np.ndarray:
    """Whether each voxel of a small volume is brighter than its left neighbour."""
    small = sampled(values, (SHORT + 1, SHORT, SHORT))
    return (small[1:] > small[:-1]).ravel()


def _average(values: np.ndarray) -> np.ndarray:
    """Whether each voxel of a small volume is above its mean."""
    small = sampled(values, (SHORT, SHORT, SHORT))
    return (small > small.mean()).ravel()


def _words(bits: np.ndarray) -> np.ndarray:
    """Bits as uint64."""
    return np.packbits(bits).view(">u8").astype(np.uint64)


def _lowest(count: int) -> tuple[np.ndarray, ...]:
    """The lowest frequencies but for the mean, as indices along x, y and z."""
    x, y, z = (axis.ravel() for axis in np.mgrid[:REACH, :REACH, :REACH])
    order = np.lexsort((z, y, x, x**2 + y**2 + z**2))[1 : count + 1]
    return x[order], y[order], z[order]


_LOWEST, _SHORTEST = _lowest(BITS), _lowest(SHORT**3)
