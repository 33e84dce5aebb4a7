"""Leaders: which images of a pile stand for the others, when whatever is too much like a kept one is left out.

Images are taken in order; each is kept unless one kept before it is near, and then the last such one leads it
(Hartigan 1975, "Clustering Algorithms", chapter 3). Hashes are held against kept ones only, newest first, and where
these are many through an index (`banding`); the answer is that of comparing with all of them.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from headwater.data.neighbours import banding, directions

BITS = 64

LARGE = 8192
"""Groups of more hashes than this may need an index; a volume has some hundred images."""

STRETCH = 1024
"""Hashes that several threads look up at once, where most are kept: what is kept among them is looked at after."""

THREADS = min(4, len(os.sched_getaffinity(0)))
"""Threads that look up, on the processors that a job was given; the answer is the same for any number."""

GROWTH = 8
"""An index serves until that many times as many hashes are kept as when it was made."""


def by_hash(hashes: np.ndarray, *, distance: int, groups: np.ndarray | None = None) -> np.ndarray:
    """The leader of each hash, uint64 (hashes,), among those of its group: int64 (hashes,), itself where it is kept.

    Near is what differs in at most `distance` bits.
    """
    if not 0 <= distance <= BITS:
        raise ValueError(f"{distance} is no number of {BITS} bits")
    hashes = np.ascontiguousarray(hashes, np.uint64)
    order, starts = _grouped(groups, count=len(hashes))
    ordered = hashes[order]
    sizes = np.diff(starts)
    led = np.empty(len(hashes), np.int64)
    small = sizes <= LARGE
    banding.each(ordered, starts[:-1][small], starts[1:][small], distance, led)
    for start, end in zip(starts[:-1][~small], starts[1:][~small], strict=True):
        led[start:end] = start + _large(ordered[start:end], distance)
    leader = np.empty(len(hashes), np.int64)
    leader[order] = order[led]
    return leader


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Bits in which hashes differ."""
    return np.bitwise_count(one ^ other).astype(np.int64)


def by_distance(
    count: int, *, threshold: float, between: Callable[[int, int], float], groups: np.ndarray | None = None
) -> np.ndarray:
    """Leaders of anything that has a distance: `between` tells it of two positions, the kept one first."""
    order, starts = _grouped(groups, count=count)
    leader = np.arange(count)
    for start, end in pairwise(starts):
        kept: list[int] = []
        for position in order[start:end].tolist():
            near = (one for one in reversed(kept) if between(one, position) <= threshold)
            leader[position] = next(near, position)
            if leader[position] == position:
                kept.append(position)
    return leader


def by_direction(rows: np.ndarray, *, threshold: float, groups: np.ndarray | None = None) -> np.ndarray:
    """Leaders of rows float16 (rows, width) by 1 - cosine of the angle between them; none of them is all zeros."""
    order, starts = _grouped(groups, count=len(rows))
    leader = np.empty(len(rows), np.int64)
    for start, end in pairwise(starts):
        members = order[start:end]
        leader[members] = members[directions.lead(rows[members], threshold=threshold)]
    return leader


def by_neighbour(
    count: int, *, threshold: float, between: Callable[[int, int], float], groups: np.ndarray | None = None
) -> np.ndarray:
    """Leaders where each is held against the last kept one of its group only."""
    order, starts = _grouped(groups, count=count)
    leader = np.arange(count)
    for start, end in pairwise(starts):
        last = order[start]
        for position in order[start + 1 : end]:
            last = last if between(int(last), int(position)) <= threshold else position
            leader[position] = last
    return leader


def _grouped(groups: np.ndarray | None, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions group by group, in order within each, and where the groups begin and the last one ends."""
    if groups is None:
        return np.arange(count), np.array([0, count] if count else [0])
    order = np.argsort(groups, kind="stable")
    inner = np.flatnonzero(np.diff(groups[order])) + 1
    return order, np.concatenate([[0], inner, [count]] if count else [[0]]).astype(np.int64)


def _large(hashes: np.ndarray, distance: int) -> np.ndarray:
    """Leaders within one large group; the index is made anew, for what has been seen, as the kept ones grow many."""
    kept, rows = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.int64)
    leader = np.empty(len(hashes), np.int64)
    done, count, limit = 0, 0, LARGE // 2
    with ThreadPoolExecutor(THREADS) as threads:
        while done < len(hashes):
            index = banding.index(kept[:count], room=min(limit, count + len(hashes) - done), distance=distance)
            new = 0
            while done < len(hashes) and count < limit:
                before, until = count, min(done + STRETCH, len(hashes))
                if new > STRETCH // 2 and len(index.widths) and count + STRETCH <= limit:
                    found = _looked_up(hashes, done, until, distance, index, threads=threads)
                    count = banding.settle(hashes, done, until, distance, index, kept, rows, count, leader, found)
                    done = until
                else:
                    done, count = banding.search(hashes, done, until, limit, distance, index, kept, rows, count, leader)
                new = count - before
            limit *= GROWTH
    return leader


def _looked_up(
    hashes: np.ndarray, begin: int, end: int, distance: int, index: banding.Index, *, threads: ThreadPoolExecutor
) -> np.ndarray:
    """The last kept hash in the index that is near each of a stretch, or -1, by all threads."""
    found = np.empty(end - begin, np.int64)
    edges = np.linspace(begin, end, THREADS + 1).astype(int)
    parts = [
        threads.submit(banding.look_up, hashes, first, last, distance, index, found[first - begin : last - begin])
        for first, last in pairwise(edges)
    ]
    for part in parts:
        part.result()
    return found
