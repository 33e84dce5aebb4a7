"""Leaders: the leader algorithm, which keeps an image unless it is too similar to one that is kept.

Images are processed in order; each is kept unless an image kept before is near, and then the last such one is its
leader (Hartigan 1975, "Clustering Algorithms", chapter 3). Hashes are compared with kept ones only, newest first, and
with many of them by an index (`banding`); the result equals that of comparing with all.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from headwater.data.neighbours import banding, directions

BITS = 64

LARGE = 8192
"""Groups of more hashes than this may use an index; a volume has a few hundred images."""

STRETCH = 1024
"""Hashes that several threads look up together if most are kept; they are compared with each other afterwards."""

THREADS = min(4, len(os.sched_getaffinity(0)))
"""Threads for look-ups, on the processors of the job; the result does not depend on their number."""

GROWTH = 8
"""An index is rebuilt when this many times as many hashes are kept as before."""


def by_hash(hashes: np.ndarray, *, distance: int, groups: np.ndarray | None = None) -> np.ndarray:
    """The leader of each hash, uint64 (hashes,), within its group: int64 (hashes,), itself if it is kept.

    Hashes are near if they differ in at most `distance` bits.
    """
    if not 0 <= distance <= BITS:
        raise ValueError(f"distance must be from 0 to {BITS} (got {distance})")
    hashes = np.ascontiguousarray(hashes, np.uint64)
    order, starts = _grouped(groups, count=len(hashes))
    ordered = hashes[order]
    sizes = np.diff(starts)
    in_order = np.empty(len(hashes), np.int64)
    small = sizes <= LARGE
    banding.each(ordered, starts[:-1][small], starts[1:][small], distance, in_order)
    for start, end in zip(starts[:-1][~small], starts[1:][~small], strict=True):
        in_order[start:end] = start + _large(ordered[start:end], distance)
    leader = np.empty(len(hashes), np.int64)
    # from positions in grouped order back to those of the caller
    leader[order] = order[in_order]
    return leader


def apart(hashes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The number of bits in which hashes differ."""
    return np.bitwise_count(hashes ^ others).astype(np.int64)


def by_distance(
    count: int, *, threshold: float, between: Callable[[int, int], float], groups: np.ndarray | None = None
) -> np.ndarray:
    """Leaders by any distance: `between` gives that of two positions, the kept one first."""
    order, starts = _grouped(groups, count=count)
    leader = np.arange(count)
    for start, end in pairwise(starts):
        kept: list[int] = []
        for position in order[start:end].tolist():
            near = (candidate for candidate in reversed(kept) if between(candidate, position) <= threshold)
            leader[position] = next(near, position)
            if leader[position] == position:
                kept.append(position)
    return leader


def by_direction(rows: np.ndarray, *, threshold: float, groups: np.ndarray | None = None) -> np.ndarray:
    """Leaders of rows float16 (rows, width) by their cosine distance; no row may be all zeros."""
    order, starts = _grouped(groups, count=len(rows))
    leader = np.empty(len(rows), np.int64)
    for start, end in pairwise(starts):
        members = order[start:end]
        leader[members] = members[directions.lead(rows[members], threshold=threshold)]
    return leader


def by_neighbour(
    count: int, *, threshold: float, between: Callable[[int, int], float], groups: np.ndarray | None = None
) -> np.ndarray:
    """Leaders if each position is compared with the last kept one of its group only."""
    order, starts = _grouped(groups, count=count)
    leader = np.arange(count)
    for start, end in pairwise(starts):
        last = order[start]
        for position in order[start + 1 : end]:
            last = last if between(int(last), int(position)) <= threshold else position
            leader[position] = last
    return leader


def _grouped(groups: np.ndarray | None, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions sorted by group, in order within each, and the limits of the groups."""
    if groups is None:
        return np.arange(count), np.array([0, count] if count else [0])
    order = np.argsort(groups, kind="stable")
    inner = np.flatnonzero(np.diff(groups[order])) + 1
    return order, np.concatenate([[0], inner, [count]] if count else [[0]]).astype(np.int64)


def _large(hashes: np.ndarray, distance: int) -> np.ndarray:
    """Leaders within one large group; the index is rebuilt from the kept hashes as their number grows."""
    kept, rows = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.int64)
    leader = np.empty(len(hashes), np.int64)
    done, count, limit = 0, 0, LARGE // 2
    with ThreadPoolExecutor(THREADS) as threads:
        while done < len(hashes):
            index = banding.index(kept[:count], room=min(limit, count + len(hashes) - done), distance=distance)
            new = 0
            while done < len(hashes) and count < limit:
                before, until = count, min(done + STRETCH, len(hashes))
                # in threads only while most are kept: each of those has to be searched for in the whole index
                if new > STRETCH // 2 and len(index.widths) and count + STRETCH <= limit:
                    nearest = _looked_up(hashes, done, until, distance, index, threads=threads)
                    count = banding.settle(hashes, done, until, distance, index, kept, rows, count, leader, nearest)
                    done = until
                else:
                    done, count = banding.search(hashes, done, until, limit, distance, index, kept, rows, count, leader)
                new = count - before
            limit *= GROWTH
    return leader


def _looked_up(
    hashes: np.ndarray, begin: int, end: int, distance: int, index: banding.Index, *, threads: ThreadPoolExecutor
) -> np.ndarray:
    """The last kept hash in the index that is near each hash of a stretch, or -1, computed by all threads."""
    nearest = np.empty(end - begin, np.int64)
    edges = np.linspace(begin, end, THREADS + 1).astype(int)
    parts = [
        threads.submit(banding.look_up, hashes, first, last, distance, index, nearest[first - begin : last - begin])
        for first, last in pairwise(edges)
    ]
    for part in parts:
        part.result()
    return nearest
