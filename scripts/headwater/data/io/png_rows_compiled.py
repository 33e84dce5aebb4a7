"""Takes the filters off the rows of a PNG (ISO/IEC 15948, 9)."""

import numba
import numpy as np

NONE, SUB, UP, AVERAGE, NEAREST = range(5)


@numba.njit(nogil=True, cache=True, boundscheck=False)
def without_filters(rows: np.ndarray, step: int, values: np.ndarray) -> bool:
    """Write the bytes of rows uint8 (height, 1 + width), the first of which names the filter, to `values`.

    `step` are the bytes of a pixel, at least one. False if a filter is none of the five.
    """
    height, width = values.shape
    above = np.zeros(width, np.uint8)
    for number in range(height):
        kind, row, into = rows[number, 0], rows[number, 1:], values[number]
        if kind == NONE:
            into[:] = row
        elif kind == SUB:
            _without_left(row, step, into)
        elif kind == UP:
            for place in range(width):
                into[place] = row[place] + above[place]
        elif kind == AVERAGE:
            _without_mean(row, above, step, into)
        elif kind == NEAREST:
            _without_nearest(row, above, step, into)
        else:
            return False
        above = into
    return True


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _without_left(row: np.ndarray, step: int, into: np.ndarray) -> None:
    """Each byte was predicted by the left one."""
    for first in range(step):
        left = np.uint8(0)
        for place in range(first, len(row), step):
            left = np.uint8(row[place] + left)
            into[place] = left


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _without_mean(row: np.ndarray, above: np.ndarray, step: int, into: np.ndarray) -> None:
    """Each byte was predicted by the mean of the left and the upper one, rounded down."""
    for first in range(step):
        left = np.uint8(0)
        for place in range(first, len(row), step):
            left = np.uint8(row[place] + ((np.int32(left) + np.int32(above[place])) >> 1))
            into[place] = left


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _without_nearest(row: np.ndarray, above: np.ndarray, step: int, into: np.ndarray) -> None:
    """Each byte was predicted by the left, upper or upper left one, whichever is nearest to left + upper - upper left.

    In the form of stb_image, in which few steps wait for the byte before.
    """
    for first in range(step):
        left = corner = np.int32(0)
        for place in range(first, len(row), step):
            upper = np.int32(above[place])
            bound = (3 * corner - upper) - left
            low, high = min(left, upper), max(left, upper)
            nearest = low if high <= bound else corner
            nearest = high if bound <= low else nearest
            left = (np.int32(row[place]) + nearest) & np.int32(255)
            into[place] = left
            corner = upper
