"""An index of hashes: finds among many kept ones the last that differs in few bits, without looking at all.

Of hashes that differ in at most d bits, d = r x m + a, one of m bands differs in at most r bits if it is among the
first a + 1, else in at most r - 1 (Norouzi, Punjani & Fleet 2014, section 3.2). Only kept hashes are in it, which are
mutually far apart: that bounds what a bucket can hold, also where bits are skewed.
"""

from itertools import combinations
from math import comb
from typing import NamedTuple

import numba
import numpy as np

from headwater.data.neighbours.hamming import ones

BITS = 64

BANDS = range(3, 9)
"""Numbers of bands that are weighed against each other; fewer would need tables larger than memory."""

SLOTS = 7
"""Hashes in a line; with the link to the next line they fill what a processor fetches at once."""

TILE = 64
"""Hashes that are looked at in one go."""

RECENT = 64
"""So many of the newest kept hashes are looked at first: in a volume the leader is among them."""

SAMPLE = 384
"""Kept hashes whose pairs tell how often bands agree."""

SCAN, PROBE, LINE, TABLE = 0.35, 1.5, 12.0, 0.5
"""Nanoseconds for a hash in a row, a look into a table, a line of a bucket, a new entry of a table; only their ratios
matter, and only to the time."""


class Index(NamedTuple):
    """Buckets of kept hashes, band by band; without bands, hashes are looked through one after another."""

    permuted: np.ndarray
    """uint64 (8, 256): what each value of each byte of a hash becomes when bits are dealt to the bands."""
    shifts: np.ndarray
    """int64 (bands,): the first bit of each band."""
    widths: np.ndarray
    """int64 (bands,)"""
    tables: np.ndarray
    """int64 (bands,): where the buckets of each band begin in `heads`."""
    probes: np.ndarray
    """int64 (probes,): what a band's bits are changed by, for all bands."""
    ends: np.ndarray
    """int64 (bands + 1,): where the probes of each band begin and end."""
    heads: np.ndarray
    """uint32 (buckets,): the newest line of each bucket; 0: none."""
    filled: np.ndarray
    """uint64 (buckets / 64,): which buckets have a line, bit by bit: this stays in the cache where `heads` does not."""
    lines: np.ndarray
    """uint64 (lines, SLOTS + 1): hashes, and the next line and how many hashes this one holds."""
    names: np.ndarray
    """uint32 (lines, SLOTS): which kept hashes these are."""
    ahead: np.ndarray
    """int64 (probes,): room for the buckets and lines that are looked at next."""
    used: np.ndarray
    """int64 (1,): lines in use; the first is never one."""


def index(kept: np.ndarray, *, room: int, distance: int) -> Index:
    """The index of these kept hashes, with room for so many in all, that finds those within `distance` quickest."""
    sample = kept[np.linspace(0, len(kept) - 1, min(SAMPLE, len(kept))).astype(int)]
    order = _evenness(sample)
    count = _best(sample, order, room=room, distance=distance)
    shares = [order[number::count] for number in range(count)]
    widths = np.array([len(share) for share in shares], np.int64)
    probes = [_probes(int(width), _radius(number, count, distance)) for number, width in enumerate(widths)]
    lines = 1 + sum(min(room, 1 << int(width)) + room // SLOTS for width in widths)
    made = Index(
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
    _add_all(made, kept)
    return made


def _aligned(lines: int) -> np.ndarray:
    """Empty lines, each of which the processor fetches in one piece."""
    room = np.empty((lines + 1) * (SLOTS + 1), np.uint64)
    skipped = -room.ctypes.data // room.itemsize % (SLOTS + 1)
    return room[skipped : skipped + lines * (SLOTS + 1)].reshape(lines, SLOTS + 1)


def _radius(number: int, count: int, distance: int) -> int:
    """Bits in which a band may differ; -1: it need not be looked at."""
    return distance // count - (number > distance % count)


def _probes(width: int, radius: int) -> np.ndarray:
    """All numbers of so many bits with at most `radius` ones."""
    chosen = (bits for ones in range(radius + 1) for bits in combinations(range(width), ones))
    return np.array([sum(1 << bit for bit in bits) for bits in chosen], np.int64)


def _evenness(kept: np.ndarray) -> np.ndarray:
    """Bits from the one that is most evenly set to the least: dealt in turn, no band is much poorer than others."""
    if not len(kept):
        return np.arange(BITS)
    share = ((kept[:, None] >> np.arange(BITS, dtype=np.uint64)) & np.uint64(1)).mean(axis=0)
    return np.argsort(np.abs(share - 0.5), kind="stable")


def _best(sample: np.ndarray, order: np.ndarray, *, room: int, distance: int) -> int:
    """How many bands cost least for hashes like these; 0: looking through them all does."""
    if len(sample) < 2:
        return 0
    one, other = np.triu_indices(len(sample), k=1)
    differing = sample[one] ^ sample[other]
    costs = {count: _cost(differing, order, count=count, room=room, distance=distance) for count in BANDS}
    return min(costs, key=costs.get) if min(costs.values()) < SCAN * room else 0


def _cost(differing: np.ndarray, order: np.ndarray, *, count: int, room: int, distance: int) -> float:
    """Nanoseconds of one search through an index of so many bands."""
    total = 0.0
    for number in range(count):
        share, radius = order[number::count], _radius(number, count, distance)
        mask = np.bitwise_or.reduce(np.uint64(1) << share.astype(np.uint64))
        looked = sum(comb(len(share), bits) for bits in range(radius + 1))
        met = room * np.mean(np.bitwise_count(differing & mask) <= radius)
        total += PROBE * looked + LINE * (min(met, looked) + met / SLOTS) + TABLE * (1 << len(share)) / room
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
def _permute(tables, one):
    """A hash with its bits dealt to the bands."""
    dealt = np.uint64(0)
    for byte in range(8):
        dealt |= tables[byte, (one >> np.uint64(8 * byte)) & np.uint64(255)]
    return dealt


@numba.njit(nogil=True, cache=True)
def _latest(kept, first, count, one, distance):
    """The last of the kept hashes from `first` on that differs in at most `distance` bits, or -1."""
    end = count
    while end > first:
        begin = max(first, end - TILE)
        least = np.uint64(BITS + 1)
        # without a way out of the loop, so that it is done for several hashes at once
        for place in range(begin, end):
            least = min(least, ones(kept[place] ^ one))
        if least <= distance:
            for place in range(end - 1, begin - 1, -1):
                if ones(kept[place] ^ one) <= distance:
                    return place
        end = begin
    return -1


@numba.njit(nogil=True, cache=True)
def each(hashes, starts, ends, distance, leader):
    """Leaders within each of some small groups."""
    most = 0
    for group in range(len(starts)):
        most = max(most, ends[group] - starts[group])
    kept, rows = np.empty(most, np.uint64), np.empty(most, np.int64)
    for group in range(len(starts)):
        count = 0
        for row in range(starts[group], ends[group]):
            found = _latest(kept, 0, count, hashes[row], distance)
            if found < 0:
                kept[count], rows[count] = hashes[row], row
                found, count = count, count + 1
            leader[row] = rows[found]


@numba.njit(nogil=True, cache=True)
def _add(index, dealt, name):
    """Put a kept hash into its bucket of each band."""
    for band in range(len(index.widths)):
        bucket = index.tables[band] + _key(index, dealt, band)
        line = np.int64(index.heads[bucket])
        held = np.int64(index.lines[line, SLOTS] >> np.uint64(32)) if line else SLOTS
        if held == SLOTS:
            before, line, held = line, index.used[0], 0
            index.used[0] += 1
            # far from all that look into this bucket
            index.lines[line, :SLOTS] = ~dealt
            index.lines[line, SLOTS] = before
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
    """Put all kept hashes into the index."""
    for name in range(len(kept)):
        _add(index, _permute(index.permuted, kept[name]), name)


@numba.njit(nogil=True, cache=True)
def _found(index, dealt, distance, ahead):
    """The last kept hash in the index that is near, or -1; `ahead` is room to work in."""
    heads, filled, probes, lines = index.heads, index.filled, index.probes, index.lines
    best = np.int64(-1)
    for band in range(len(index.widths)):
        table, key = index.tables[band], _key(index, dealt, band)
        # buckets and lines are gathered first and then looked at without a way out, so that many are fetched at once
        many = 0
        for probe in range(index.ends[band], index.ends[band + 1]):
            bucket = table + (key ^ probes[probe])
            ahead[many] = bucket
            many += np.int64((filled[bucket >> 6] >> np.uint64(bucket & 63)) & np.uint64(1))
        for place in range(many):
            ahead[place] = heads[ahead[place]]
        while many:
            deeper = 0
            for place in range(many):
                line = ahead[place]
                least = np.uint64(BITS + 1)
                for slot in range(SLOTS):
                    least = min(least, ones(lines[line, slot] ^ dealt))
                if least <= distance:
                    best = max(best, _in_line(index, line, dealt, distance))
                ahead[deeper] = np.int64(lines[line, SLOTS] & np.uint64(0xFFFFFFFF))
                deeper += ahead[deeper] != 0
            many = deeper
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
    """Find leaders from row `done` up to `until`, or until `limit` hashes are kept; how many rows are done then, and
    how many kept."""
    indexed = len(index.widths) > 0
    for row in range(done, until):
        if count == limit:
            return row, count
        one = hashes[row]
        recent = max(0, count - RECENT) if indexed else 0
        found = _latest(kept, recent, count, one, distance)
        dealt = _permute(index.permuted, one) if indexed else one
        if found < 0 and indexed:
            found = _found(index, dealt, distance, index.ahead)
        if found < 0:
            if indexed:
                _add(index, dealt, count)
            kept[count], rows[count] = one, row
            found, count = count, count + 1
        leader[row] = rows[found]
    return until, count


@numba.njit(nogil=True, cache=True)
def look_up(hashes, begin, end, distance, index, found):
    """The last kept hash in the index that is near each of these, or -1: several threads may do so at once."""
    ahead = np.empty_like(index.ahead)
    for row in range(begin, end):
        found[row - begin] = _found(index, _permute(index.permuted, hashes[row]), distance, ahead)


@numba.njit(nogil=True, cache=True)
def settle(hashes, done, until, distance, index, kept, rows, count, leader, found):
    """Leaders of rows that have been looked up: only what was kept since then need still be looked at."""
    before = count
    for row in range(done, until):
        one = hashes[row]
        near = max(_latest(kept, before, count, one, distance), found[row - done])
        if near < 0:
            _add(index, _permute(index.permuted, one), count)
            kept[count], rows[count] = one, row
            near, count = count, count + 1
        leader[row] = rows[near]
    return count
