"""Fewer or more rows from the rows of a picture by the Lanczos filter, in whole numbers like Pillow's (Resample.c).

Weights are computed in double precision and rounded to 22 binary places; a sum of weighted pixels is rounded to 8 bits.
"""

import math
from functools import lru_cache

import numba
import numpy as np

LOBES = 3
"""Of the filter, on either side."""

PLACES = 22
"""Binary places of a weight: a sum of pixels of 8 bits fits 32 bits, with two to spare for the filter's overshoot."""


SQUARE = 32
"""Pixels along a side of what is turned at a time, so that it stays in the fastest memory."""


def of_rows(pixels: np.ndarray, rows: int) -> np.ndarray:
    """A picture uint8 (height, width) with so many rows: uint8 (rows, width)."""
    return _added(pixels, *_kept_weights(len(pixels), rows))


@numba.njit(nogil=True, cache=True, boundscheck=False)
def on_its_side(pixels: np.ndarray) -> np.ndarray:
    """Rows and columns swapped: uint8 (width, height)."""
    height, width = pixels.shape
    result = np.empty((width, height), np.uint8)
    for top in range(0, height, SQUARE):
        for left in range(0, width, SQUARE):
            for column in range(left, min(left + SQUARE, width)):
                for row in range(top, min(top + SQUARE, height)):
                    result[column, row] = pixels[row, column]
    return result


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _added(pixels: np.ndarray, first: np.ndarray, count: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rows of which each is a weighted sum of so many rows of a picture, uint8 (rows, width)."""
    width = pixels.shape[1]
    result = np.empty((len(first), width), np.uint8)
    sums = np.empty(width, np.int32)
    for row in range(len(first)):
        start = first[row]
        # a half, so that what is cut off below rounds to the nearest
        sums[:] = 1 << (PLACES - 1)
        for place in range(count[row]):
            weight = weights[row, place]
            for column in range(width):
                sums[column] += np.int32(pixels[start + place, column]) * weight
        for column in range(width):
            result[row, column] = min(max(sums[column] >> PLACES, 0), 255)
    return result


@lru_cache(maxsize=64)
def _kept_weights(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights below, which many pictures share."""
    return _weights(old, new)


@numba.njit(nogil=True, cache=True)
def _weights(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `new` places the first of `old` ones that it is made of, their number, and their weights int32."""
    scale = old / new
    wide = max(scale, 1.0)
    reach = LOBES * wide
    most = 2 * math.ceil(reach) + 1
    first, count = np.empty(new, np.int64), np.empty(new, np.int64)
    whole, exact = np.zeros((new, most), np.int32), np.empty(most)
    for place in range(new):
        centre = (place + 0.5) * scale
        low = max(int(centre - reach + 0.5), 0)
        many = min(int(centre + reach + 0.5), old) - low
        first[place], count[place] = low, many
        total = 0.0
        for step in range(many):
            exact[step] = _lanczos((step + low - centre + 0.5) * (1.0 / wide))
            total += exact[step]
        for step in range(many):
            share = exact[step] / total if total != 0.0 else exact[step]
            whole[place, step] = int(share * (1 << PLACES) + (-0.5 if share < 0 else 0.5))
    return first, count, whole


@numba.njit(nogil=True, cache=True)
def _lanczos(away: float) -> float:
    """The filter at a distance from its centre."""
    return _sinc(away) * _sinc(away / LOBES) if -LOBES <= away < LOBES else 0.0


@numba.njit(nogil=True, cache=True)
def _sinc(angle: float) -> float:
    if angle == 0.0:
        return 1.0
    angle = angle * math.pi
    return math.sin(angle) / angle
