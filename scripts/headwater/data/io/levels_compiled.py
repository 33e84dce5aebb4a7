"""Marks and replaces stored values one by one, without indices of eight bytes for all of them."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, boundscheck=False)
def marked(stored: np.ndarray, lowest: int, count: int) -> np.ndarray:
    """Which of so many values, from the lowest on, occur among whole numbers (pixels,): bool (count,)."""
    result = np.zeros(count, np.bool_)
    for place in range(len(stored)):
        result[np.int64(stored[place]) - lowest] = True
    return result


@numba.njit(nogil=True, cache=True, boundscheck=False)
def looked_up(stored: np.ndarray, lowest: int, table: np.ndarray) -> np.ndarray:
    """The entry of a table uint8, which begins with that of the lowest value, for each whole number (pixels,)."""
    result = np.empty(len(stored), np.uint8)
    for place in range(len(stored)):
        result[place] = table[np.int64(stored[place]) - lowest]
    return result
