"""Directions: how far rows of numbers point apart, and which of a pile of them stand for the others.

Rows are float16, whose products add up in float64 without rounding: a distance is the same in whatever order, block or
thread it is computed, and large piles are looked through by rough products, of which the near ones are computed anew.
"""

import numpy as np

BLOCK = 1024
"""Rows that are looked at together."""

TILE = 8192
"""Kept rows that a block is held against at a time, newest first."""

CHECKED = 8
"""Likely rows that are computed anew at a time, newest first."""


def without_nothing(rows: np.ndarray) -> np.ndarray:
    """Rows float16 (rows, width) that all point somewhere: rows of nothing get a direction of their own."""
    nothing = ~rows.any(axis=1)
    return np.column_stack([rows, nothing.astype(np.float16)]) if nothing.any() else rows


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """1 - cosine of the angle between each of one and each of other: float64 (one, other), 0 for one direction."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    return _apart(first @ second.T, _squares(first)[:, None], _squares(second))


def pairwise(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The same row by row: float64 (rows,)."""
    found = np.empty(len(one))
    for begin in range(0, len(one), BLOCK):
        first, second = (rows[begin : begin + BLOCK].astype(np.float64) for rows in (one, other))
        products = np.einsum("ij,ij->i", first, second)
        found[begin : begin + BLOCK] = _apart(products, _squares(first), _squares(second))
    return found


def lead(rows: np.ndarray, *, threshold: float) -> np.ndarray:
    """The leader of each row: the last kept one within the threshold, itself where there is none and it is kept."""
    leader, kept = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    known, count = np.empty((0, rows.shape[1]), np.float32), 0
    for begin in range(0, len(rows), BLOCK):
        block = rows[begin : begin + BLOCK]
        earlier = _earlier(block, rows, kept[:count], known, threshold=threshold)
        settled = _settled(apart(block, block) <= threshold, earlier, begin)
        leader[begin : begin + len(block)] = settled
        new = settled[settled == begin + np.arange(len(block))]
        kept[count : count + len(new)] = new
        known = _grown(known, count, _units(rows[new]))
        count += len(new)
    return leader


def among(near: np.ndarray) -> np.ndarray:
    """The leaders of a small pile by who is near whom (rows, rows)."""
    return _settled(near, np.full(len(near), -1), 0)


def _settled(near: np.ndarray, earlier: np.ndarray, begin: int) -> np.ndarray:
    """The leaders of a block that begins there, by who is near whom in it and the leader of each from before, or -1."""
    leader, kept = earlier.copy(), np.zeros(len(near), bool)
    for row in range(len(near)):
        met = np.flatnonzero(near[row, :row] & kept[:row])
        if len(met):
            leader[row] = begin + met[-1]
        elif earlier[row] < 0:
            leader[row], kept[row] = begin + row, True
    return leader


def _earlier(
    block: np.ndarray, rows: np.ndarray, kept: np.ndarray, known: np.ndarray, *, threshold: float
) -> np.ndarray:
    """The last of the kept rows that is near each row of a block, or -1; `known` are their directions, roughly."""
    found, units = np.full(len(block), -1), _units(block)
    # a sum of so many rounded products is off by less (Higham 2002, "Accuracy and Stability", section 3.1)
    slack = (rows.shape[1] + 8) * 2.0**-23
    for end in range(len(kept), 0, -TILE):
        begin, lacking = max(0, end - TILE), np.flatnonzero(found < 0)
        likely = units[lacking] @ known[begin:end].T >= 1 - threshold - slack
        for at, row in enumerate(lacking):
            found[row] = _last(block[row], rows, kept[begin:end][likely[at]], threshold)
    return found


def _last(one: np.ndarray, rows: np.ndarray, candidates: np.ndarray, threshold: float) -> int:
    """The last of the candidates that is near one row, or -1."""
    for end in range(len(candidates), 0, -CHECKED):
        some = candidates[max(0, end - CHECKED) : end]
        near = some[apart(one[None], rows[some])[0] <= threshold]
        if len(near):
            return int(near[-1])
    return -1


def _grown(known: np.ndarray, count: int, new: np.ndarray) -> np.ndarray:
    """The known directions with new ones after so many, in an array that has room for them."""
    if count + len(new) > len(known):
        room = np.empty((max(BLOCK, 2 * (count + len(new))), known.shape[1]), np.float32)
        room[:count] = known[:count]
        known = room
    known[count : count + len(new)] = new
    return known


def _units(rows: np.ndarray) -> np.ndarray:
    """The rows at length one, roughly."""
    exact = rows.astype(np.float64)
    return (exact / np.sqrt(_squares(exact))[:, None]).astype(np.float32)


def _squares(rows: np.ndarray) -> np.ndarray:
    """The squared length of each row."""
    return np.einsum("ij,ij->i", rows, rows)


def _apart(products: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """1 - cosine from products and squared lengths; the root of a square is exact, so equal rows are 0 apart."""
    return 1 - np.clip(products / np.sqrt(one * other), -1, 1)
