"""Directions: cosine distances between feature vectors, and leaders by them.

Features are float16, whose products are summed in float64 without rounding: a distance does not depend on the order,
block or thread of its computation. Large sets are searched with float32 products, and near candidates are recomputed.
"""

import numpy as np

BLOCK = 1024
"""Rows that are processed together."""

TILE = 8192
"""Kept rows that a block is compared with at a time, newest first."""

CHECKED = 8
"""Candidates that are recomputed exactly at a time, newest first."""


def without_nothing(rows: np.ndarray) -> np.ndarray:
    """Rows float16 (rows, width) that all have a direction: rows of zeros get a common one in a further column."""
    nothing = ~rows.any(axis=1)
    return np.column_stack([rows, nothing.astype(np.float16)]) if nothing.any() else rows


def apart(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The cosine distance between each of rows and each of others: float64 (rows, others), 0 for equal directions."""
    first, second = rows.astype(np.float64), others.astype(np.float64)
    return _apart(first @ second.T, _squares(first)[:, None], _squares(second))


def pairwise(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The cosine distance between corresponding rows: float64 (rows,)."""
    distances = np.empty(len(rows))
    for begin in range(0, len(rows), BLOCK):
        first, second = (part[begin : begin + BLOCK].astype(np.float64) for part in (rows, others))
        products = np.einsum("ij,ij->i", first, second)
        distances[begin : begin + BLOCK] = _apart(products, _squares(first), _squares(second))
    return distances


def lead(rows: np.ndarray, *, threshold: float) -> np.ndarray:
    """The leader of each row: the last kept one within the threshold; without one, the row is kept and leads itself."""
    leader, kept = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    kept_units, count = np.empty((0, rows.shape[1]), np.float32), 0
    for begin in range(0, len(rows), BLOCK):
        block = rows[begin : begin + BLOCK]
        earlier = _earlier(block, rows, kept[:count], kept_units, threshold=threshold)
        settled = _settled(apart(block, block) <= threshold, earlier, begin)
        leader[begin : begin + len(block)] = settled
        new = settled[settled == begin + np.arange(len(block))]
        kept[count : count + len(new)] = new
        kept_units = _grown(kept_units, count, _units(rows[new]))
        count += len(new)
    return leader


def among(near: np.ndarray) -> np.ndarray:
    """The leaders within a small set, given which rows are near each other (rows, rows)."""
    return _settled(near, np.full(len(near), -1), 0)


def _settled(near: np.ndarray, earlier: np.ndarray, begin: int) -> np.ndarray:
    """The leaders of a block that begins at a row, given which of its rows are near each other, and earlier leaders."""
    leader, kept = earlier.copy(), np.zeros(len(near), bool)
    for row in range(len(near)):
        candidates = np.flatnonzero(near[row, :row] & kept[:row])
        # one of the block is later than any before it
        if len(candidates):
            leader[row] = begin + candidates[-1]
        elif earlier[row] < 0:
            leader[row], kept[row] = begin + row, True
    return leader


def _earlier(
    block: np.ndarray, rows: np.ndarray, kept: np.ndarray, kept_units: np.ndarray, *, threshold: float
) -> np.ndarray:
    """The last of the kept rows that is near each row of a block, or -1; `kept_units` are their float32 directions."""
    nearest, units = np.full(len(block), -1), _units(block)
    # a bound on the rounding error of a sum of so many products (Higham 2002, "Accuracy and Stability", section 3.1)
    slack = (rows.shape[1] + 8) * 2.0**-23
    for end in range(len(kept), 0, -TILE):
        begin, open_rows = max(0, end - TILE), np.flatnonzero(nearest < 0)
        likely = units[open_rows] @ kept_units[begin:end].T >= 1 - threshold - slack
        for at, row in enumerate(open_rows):
            nearest[row] = _last(block[row], rows, kept[begin:end][likely[at]], threshold)
    return nearest


def _last(query: np.ndarray, rows: np.ndarray, candidates: np.ndarray, threshold: float) -> int:
    """The last of the candidates that is near a row, or -1."""
    for end in range(len(candidates), 0, -CHECKED):
        some = candidates[max(0, end - CHECKED) : end]
        near = some[apart(query[None], rows[some])[0] <= threshold]
        if len(near):
            return int(near[-1])
    return -1


def _grown(units: np.ndarray, count: int, new: np.ndarray) -> np.ndarray:
    """The first `count` directions followed by new ones, in an array that is doubled when it is full."""
    if count + len(new) > len(units):
        room = np.empty((max(BLOCK, 2 * (count + len(new))), units.shape[1]), np.float32)
        room[:count] = units[:count]
        units = room
    units[count : count + len(new)] = new
    return units


def _units(rows: np.ndarray) -> np.ndarray:
    """The rows scaled to length one, rounded to float32."""
    exact = rows.astype(np.float64)
    return (exact / np.sqrt(_squares(exact))[:, None]).astype(np.float32)


def _squares(rows: np.ndarray) -> np.ndarray:
    """The squared length of each row."""
    return np.einsum("ij,ij->i", rows, rows)


def _apart(products: np.ndarray, squares: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The cosine distance from products and squared lengths."""
    # one root of the product of squares instead of two roots: for equal rows it is exact, and their distance 0
    return 1 - np.clip(products / np.sqrt(squares * others), -1, 1)
