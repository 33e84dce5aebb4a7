"""Replaces each stored value of a picture by its shade: a radiograph has many pixels, but few different values."""

import numpy as np

LARGE = 2**17
"""Pixels from which compiled code does it, whose start takes most of a second."""


def present(stored: np.ndarray, *, lowest: int, count: int) -> np.ndarray:
    """Which of so many values, from the lowest on, occur among the whole numbers `stored`: bool (count,)."""
    if stored.size < LARGE:
        return np.bincount(stored.ravel().astype(np.int64) - lowest, minlength=count) > 0
    from headwater.data.io.levels_compiled import marked

    return marked(_in_line(stored), lowest, count)


def replaced(stored: np.ndarray, *, lowest: int, by: np.ndarray) -> np.ndarray:
    """The entries of a table uint8, which begins with that of the lowest value, for the whole numbers `stored`."""
    if stored.size < LARGE:
        return by[stored.astype(np.int64) - lowest]
    from headwater.data.io.levels_compiled import looked_up

    return looked_up(_in_line(stored), lowest, by).reshape(stored.shape)


def _in_line(stored: np.ndarray) -> np.ndarray:
    """The values (pixels,) in this machine's byte order."""
    return np.ascontiguousarray(stored, stored.dtype.newbyteorder("=")).reshape(-1)
