"""An index of hashes (multi-index hashing): finds the last of many kept hashes that differs in few bits.

If two hashes differ in at most d = r x m + a bits, at least one of m bands differs in at most r bits if it is one of
the first a + 1, or else in at most r - 1 (Norouzi, Punjani & Fleet 2014, section 3.2). Only kept hashes are indexed,
which differ from each other in more than d bits: that limits the size of buckets even if bits are skewed.
"""

from itertools import combinations
from math import comb
from typing import NamedTuple

import numba
import numpy as np

from headwater.data.neighbours.hamming import ones

BITS = 64

BANDS = range(3, 9)
"""Numbers of bands to choose from; fewer would need tables larger than memory."""

SLOTS = 7
"""Hashes in a line of a bucket; with the link to the next line they fill a cache line of 64 bytes."""

TILE = 64
"""Hashes that a linear search compares at a time."""

RECENT = 64
"""Number of the newest kept hashes that are searched first: within a volume the leader is usually among them."""

SAMPLE = 384
"""Number of kept hashes whose pairs are used to estimate how often bands agree."""

SCAN, PROBE, LINE, TABLE = 0.35, 1.5, 12.0, 0.5
"""Cost model in nanoseconds: a hash in a linear search, a probe of a table, a line of a bucket, a new entry of a table;
only their ratios matter, and only for the speed."""


class Index(NamedTuple):
    """Buckets of kept hashes by band; without bands, hashes are searched linearly."""

    permuted: np.ndarray
    """uint64 (8, 256): the permuted bits of each value of each byte, which sort a hash's bits by band."""
    shifts: np.ndarray
    """int64 (bands,): the first bit of each band."""
    widths: np.ndarray
    """int64 (bands,)"""
    tables: np.ndarray
    """int64 (bands,): the offset of each band's buckets in `heads`."""
    probes: np.ndarray
    """int64 (probes,): masks of the bits of a band that may differ, for all bands."""
    ends: np.ndarray
    """int64 (bands + 1,): the limits of each band's probes."""
    heads: np.ndarray
    """uint32 (buckets,): the newest line of each bucket, 0 if it is empty."""
    filled: np.ndarray
    """uint64 (buckets / 64,): a bit per bucket, whether it has a line: small enough for the cache, unlike `heads`."""
    lines: np.ndarray
    """uint64 (lines, SLOTS + 1): hashes, and a last word with the next line (low half) and the number of hashes."""
    names: np.ndarray
    """uint32 (lines, SLOTS): the positions of these hashes among the kept ones."""
    ahead: np.ndarray
    """int64 (probes,): working memory for buckets and lines to be read next."""
    used: np.ndarray
    """int64 (1,): the number of lines in use; line 0 is never used, as 0 means none."""


def index(kept: np.ndarray, *, room: int, distance: int) -> Index:
    """The fastest index of these kept hashes for a search within `distance`, with room for `room` hashes in total."""
    sample = kept[np.linspace(0, len(kept) - 1, min(SAMPLE, len(kept))).astype(int)]
    order = _evenness(sample)
    count = _best(sample, order, room=room, distance=distance)
    shares = [order[number::count] for number in range(count)]
    widths = np.array([len(share) for share in shares], np.int64)
    probes = [_probes(int(width), _radius(number, count, distance)) for number, width in enumerate(widths)]
    lines = 1 + sum(min(room, 1 << int(width)) + room // SLOTS for width in widths)
    built = Index(
        permuted=_permutation(np.concatenate(shares) if count else order),
        shifts=np.cumsum(widths) - widths,
        widths=widths,
        tables=np.cumsum(1 << widths) - (1 << widths),
        probes=np.concatenate(probes) if count else np.zeros(0, np.int64),
        ends=np.cumsum([0, *map(len, probes)]),
        heads=np.zeros(int((1 << widths).sum()), np.uint32),
        filled=np.zeros(int((1 << widths).sum()) // BITS + 1, np.uint64),
        lines=_aligned(lines),
        names=np.empty((lines, SLOTS), np.uint32),
        ahead=np.empty(max(map(len, probes), default=0), np.int64),
        used=np.ones(1, np.int64),
    )
    _add_all(built, kept)
    return built


def _aligned(lines: int) -> np.ndarray:
    """Empty lines, aligned to cache lines."""
    room = np.empty((lines + 1) * (SLOTS + 1), np.uint64)
    skipped = -room.ctypes.data // room.itemsize % (SLOTS + 1)
    return room[skipped : skipped + lines * (SLOTS + 1)].reshape(lines, SLOTS + 1)


def _radius(number: int, count: int, distance: int) -> int:
    """The number of bits in which a band may differ; -1 if it need not be searched."""
    return distance // count - (number > distance % count)


def _probes(width: int, radius: int) -> np.ndarray:
    """All numbers of `width` bits of which at most `radius` are set."""
    chosen = (bits for ones in range(radius + 1) for bits in combinations(range(width), ones))
    return np.array([sum(1 << bit for bit in bits) for bits in chosen], np.int64)


def _evenness(kept: np.ndarray) -> np.ndarray:
    """Bit positions from the most to the least evenly set; dealt to bands in turn, all bands discriminate similarly."""
    if not len(kept):
        return np.arange(BITS)
    share = ((kept[:, None] >> np.arange(BITS, dtype=np.uint64)) & np.uint64(1)).mean(axis=0)
    return np.argsort(np.abs(share - 0.5), kind="stable")


def _best(sample: np.ndarray, order: np.ndarray, *, room: int, distance: int) -> int:
    """The number of bands of the lowest cost for hashes like these; 0 if a linear search is cheaper."""
    if len(sample) < 2:
        return 0
    first, second = np.triu_indices(len(sample), k=1)
    differing = sample[first] ^ sample[second]
    costs = {count: _cost(differing, order, count=count, room=room, distance=distance) for count in BANDS}
    return min(costs, key=costs.get) if min(costs.values()) < SCAN * room else 0


def _cost(differing: np.ndarray, order: np.ndarray, *, count: int, room: int, distance: int) -> float:
    """The expected nanoseconds of one search through an index of so many bands."""
    total = 0.0
    for number in range(count):
        share, radius = order[number::count], _radius(number, count, distance)
        mask = np.bitwise_or.reduce(np.uint64(1) << share.astype(np.uint64))
        probes = sum(comb(len(share), bits) for bits in range(radius + 1))
        matches = room * np.mean(np.bitwise_count(differing & mask) <= radius)
        total += PROBE * probes + LINE * (min(matches, probes) + matches / SLOTS) + TABLE * (1 << len(share)) / room
    return total


def _permutation(order: np.ndarray) -> np.ndarray:
    """Tables that move bit order[i] of a hash to bit i, byte by byte: uint64 (8, 256)."""
    target = np.argsort(order).astype(np.uint64)
    values = np.arange(256, dtype=np.uint64)
    tables = np.zeros((8, 256), np.uint64)
    for bit in range(BITS):
        tables[bit // 8] |= ((values >> np.uint64(bit % 8)) & np.uint64(1)) << target[bit]
    return tables


@numba.njit(nogil=True, cache=True)
def _permute(tables, query):
    """A hash with its bits sorted by band."""
    dealt = np.uint64(0)
    for byte in range(8):
        dealt |= tables[byte, (query >> np.uint64(8 * byte)) & np.uint64(255)]
    return dealt


@numba.njit(nogil=True, cache=True)
def _latest(kept, first, count, query, distance):
    """The last of the kept hashes from `first` on that differs in at most `distance` bits, or -1."""
    end = count
    while end > first:
        begin = max(first, end - TILE)
        least = np.uint64(BITS + 1)
        # without an early exit the compiler can vectorise the loop
        for place in range(begin, end):
            least = min(least, ones(kept[place] ^ query))
        if least <= distance:
            for place in range(end - 1, begin - 1, -1):
                if ones(kept[place] ^ query) <= distance:
                    return place
        end = begin
    return -1


@numba.njit(nogil=True, cache=True)
def each(hashes, starts, ends, distance, leader):
    """Write the leaders within each of several small groups, by linear search."""
    largest = 0
    for group in range(len(starts)):
        largest = max(largest, ends[group] - starts[group])
    kept, rows = np.empty(largest, np.uint64), np.empty(largest, np.int64)
    for group in range(len(starts)):
        count = 0
        for row in range(starts[group], ends[group]):
            near = _latest(kept, 0, count, hashes[row], distance)
            if near < 0:
                kept[count], rows[count] = hashes[row], row
                near, count = count, count + 1
            leader[row] = rows[near]


@numba.njit(nogil=True, cache=True)
def _add(index, dealt, name):
    """Add a kept hash to its bucket of each band."""
    for band in range(len(index.widths)):
        bucket = index.tables[band] + _key(index, dealt, band)
        line = np.int64(index.heads[bucket])
        held = np.int64(index.lines[line, SLOTS] >> np.uint64(32)) if line else SLOTS
        if held == SLOTS:
            previous, line, held = line, index.used[0], 0
            index.used[0] += 1
            # empty slots get a hash that is far from all queries of this bucket, so that they need no check
            index.lines[line, :SLOTS] = ~dealt
            index.lines[line, SLOTS] = previous
            index.heads[bucket] = line
            index.filled[bucket >> 6] |= np.uint64(1) << np.uint64(bucket & 63)
        index.lines[line, held] = dealt
        index.names[line, held] = name
        index.lines[line, SLOTS] += np.uint64(1) << np.uint64(32)


@numba.njit(nogil=True, cache=True)
def _key(index, dealt, band):
    """A hash's bits of a band."""
    return np.int64((dealt >> np.uint64(index.shifts[band])) & np.uint64((1 << index.widths[band]) - 1))


@numba.njit(nogil=True, cache=True)
def _add_all(index, kept):
    """Add all kept hashes to the index."""
    for name in range(len(kept)):
        _add(index, _permute(index.permuted, kept[name]), name)


@numba.njit(nogil=True, cache=True)
def _search_index(index, dealt, distance, ahead):
    """The last kept hash in the index that is near, or -1; `ahead` is working memory."""
    heads, filled, probes, lines = index.heads, index.filled, index.probes, index.lines
    best = np.int64(-1)
    for band in range(len(index.widths)):
        table, key = index.tables[band], _key(index, dealt, band)
        # addresses are gathered first and read in loops without branches, so that memory accesses overlap
        pending = 0
        for probe in range(index.ends[band], index.ends[band + 1]):
            bucket = table + (key ^ probes[probe])
            # every bucket is written, but only a filled one advances the count
            ahead[pending] = bucket
            pending += np.int64((filled[bucket >> 6] >> np.uint64(bucket & 63)) & np.uint64(1))
        for place in range(pending):
            ahead[place] = heads[ahead[place]]
        while pending:
            deeper = 0
            for place in range(pending):
                line = ahead[place]
                least = np.uint64(BITS + 1)
                for slot in range(SLOTS):
                    least = min(least, ones(lines[line, slot] ^ dealt))
                if least <= distance:
                    best = max(best, _in_line(index, line, dealt, distance))
                ahead[deeper] = np.int64(lines[line, SLOTS] & np.uint64(0xFFFFFFFF))
                deeper += ahead[deeper] != 0
            pending = deeper
    return best


@numba.njit(nogil=True, cache=True)
def _in_line(index, line, dealt, distance):
    """The last kept hash of a line that is near, or -1."""
    held = np.int64(index.lines[line, SLOTS] >> np.uint64(32))
    for slot in range(held - 1, -1, -1):
        if ones(index.lines[line, slot] ^ dealt) <= distance:
            return np.int64(index.names[line, slot])
    return np.int64(-1)


@numba.njit(nogil=True, cache=True)
def search(hashes, done, until, limit, distance, index, kept, rows, count, leader):
    """Write leaders from row `done` up to `until`, or until `limit` hashes are kept.

    Returns (rows done, hashes kept).
    """
    indexed = len(index.widths) > 0
    for row in range(done, until):
        if count == limit:
            return row, count
        query = hashes[row]
        recent = max(0, count - RECENT) if indexed else 0
        near = _latest(kept, recent, count, query, distance)
        dealt = _permute(index.permuted, query) if indexed else query
        if near < 0 and indexed:
            near = _search_index(index, dealt, distance, index.ahead)
        if near < 0:
            if indexed:
                _add(index, dealt, count)
            kept[count], rows[count] = query, row
            near, count = count, count + 1
        leader[row] = rows[near]
    return until, count


@numba.njit(nogil=True, cache=True)
def look_up(hashes, begin, end, distance, index, nearest):
    """Write the last kept hash in the index that is near each of these, or -1; safe for several threads."""
    ahead = np.empty_like(index.ahead)
    for row in range(begin, end):
        nearest[row - begin] = _search_index(index, _permute(index.permuted, hashes[row]), distance, ahead)


@numba.njit(nogil=True, cache=True)
def settle(hashes, done, until, distance, index, kept, rows, count, leader, nearest):
    """Write the leaders of rows that were looked up, comparing them with hashes kept since; return the count."""
    before = count
    for row in range(done, until):
        query = hashes[row]
        # the last kept one counts, and those kept since the look-up are later than all in the index
        near = max(_latest(kept, before, count, query, distance), nearest[row - done])
        if near < 0:
            _add(index, _permute(index.permuted, query), count)
            kept[count], rows[count] = query, row
            near, count = count, count + 1
        leader[row] = rows[near]
    return count
