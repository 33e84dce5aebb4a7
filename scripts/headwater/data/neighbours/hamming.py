"""Hamming distances: all pairs of hashes that differ in few bits, exactly and without comparing every pair.

Two hashes that differ in at most d bits are equal in at least one of any d + 1 bands (pigeonhole principle; Norouzi,
Punjani & Fleet 2014, section 3), so only hashes that share a band are compared. Beyond 24 bits bands would be so short
that they agree by chance, and every pair is compared.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

WORD = 64

BANDED = 24
"""Largest distance in bits for which bands are used."""

PIECE = 4096
"""Hashes that a thread compares with all later ones at a time."""

THREADS = min(4, len(os.sched_getaffinity(0)))
"""Threads, on the processors of the job; the result does not depend on their number."""


def neighbours(hashes: np.ndarray, *, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """(pairs, distances) of the hashes, uint64 (hashes, words), that differ in at most `distance` bits.

    Pairs int64 (pairs, 2), the smaller row first, in order. The hashes must be distinct: n equal ones would give about
    n x n / 2 pairs.
    """
    bits = hashes.shape[1] * WORD
    if distance >= bits:
        raise ValueError(f"distance must be < {bits} (got {distance})")
    if distance > BANDED:
        return _every(np.ascontiguousarray(hashes), distance)
    bands = _bands(hashes, count=distance + 1)
    with ThreadPoolExecutor(THREADS) as threads:
        by_band = list(threads.map(lambda number: _within(hashes, bands, number, distance), range(len(bands))))
    pairs = np.concatenate([pairs for pairs, _ in by_band])
    distances = np.concatenate([distances for _, distances in by_band])
    order = np.lexsort(pairs.T[::-1])
    return pairs[order], distances[order]


def _every(hashes: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """(pairs, distances) of near hashes, each compared with all later ones."""
    with ThreadPoolExecutor(THREADS) as threads:
        starts = range(0, len(hashes), PIECE)
        found = list(threads.map(lambda begin: _scanned(hashes, begin, begin + PIECE, distance), starts))
    near = np.concatenate([np.zeros((0, 3), np.int64), *found])
    return near[:, :2], near[:, 2]


def _bands(hashes: np.ndarray, *, count: int) -> np.ndarray:
    """Keys int64 (bands, hashes), of which two hashes have one in common if they differ in fewer bits than bands."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8), axis=1)
    # dealt to the bands in turn from the most to the least evenly set bit, so that all bands discriminate similarly
    order = np.argsort(np.abs(bits.mean(axis=0) - 0.5), kind="stable") if len(bits) else np.arange(bits.shape[1])
    # of a longer band as many bits as a number holds: hashes with the same band have the same part of it
    return np.stack([_keys(hashes, order[number::count][: WORD - 1]) for number in range(count)])


@numba.njit(nogil=True, cache=True)
def _keys(hashes, positions):
    """Some bits of each hash as a number, int64 (hashes,)."""
    keys = np.zeros(len(hashes), np.int64)
    for row in range(len(hashes)):
        for position in positions:
            word = hashes[row, position // WORD] >> np.uint64(WORD - 1 - position % WORD)
            keys[row] = keys[row] << 1 | np.int64(word & np.uint64(1))
    return keys


def _within(hashes: np.ndarray, bands: np.ndarray, number: int, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """(pairs, distances) of near pairs that share this band and no earlier one."""
    order = np.argsort(bands[number], kind="stable")
    keys = bands[number][order]
    begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    ends = np.append(begins[1:], len(keys))
    # counted first, so that the arrays can be made at their size
    count = _count(hashes, bands, number, distance, order, begins, ends)
    pairs, distances = np.empty((count, 2), np.int64), np.empty(count, np.int64)
    _fill(hashes, bands, number, distance, order, begins, ends, pairs, distances)
    return pairs, distances


@numba.njit(nogil=True, cache=True)
def ones(word):
    """The number of set bits of a word (population count)."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@numba.njit(nogil=True, cache=True)
def _near(hashes, bands, number, distance, row, other):
    """The distance of two hashes; -1 if it is too large or if an earlier band has reported the pair."""
    differing = 0
    for word in range(hashes.shape[1]):
        differing += np.int64(ones(hashes[row, word] ^ hashes[other, word]))
        if differing > distance:
            return -1
    for earlier in range(number):
        if bands[earlier, row] == bands[earlier, other]:
            return -1
    return differing


@numba.njit(nogil=True, cache=True)
def _count(hashes, bands, number, distance, order, begins, ends):
    """The number of near pairs of a band."""
    count = 0
    for group in range(len(begins)):
        for first in range(begins[group], ends[group]):
            for second in range(first + 1, ends[group]):
                count += _near(hashes, bands, number, distance, order[first], order[second]) >= 0
    return count


@numba.njit(nogil=True, cache=True)
def _fill(hashes, bands, number, distance, order, begins, ends, pairs, distances):
    """Write the near pairs of a band and their distances."""
    place = 0
    for group in range(len(begins)):
        for first in range(begins[group], ends[group]):
            for second in range(first + 1, ends[group]):
                differing = _near(hashes, bands, number, distance, order[first], order[second])
                if differing >= 0:
                    pairs[place, 0] = min(order[first], order[second])
                    pairs[place, 1] = max(order[first], order[second])
                    distances[place] = differing
                    place += 1


@numba.njit(nogil=True, cache=True)
def _scanned(hashes, begin, end, distance):
    """(row, later row, distance) of the near pairs of some rows, int64 (pairs, 3), in order."""
    found, count = np.empty((1024, 3), np.int64), 0
    for row in range(begin, min(end, len(hashes))):
        for other in range(row + 1, len(hashes)):
            differing = 0
            for word in range(hashes.shape[1]):
                differing += np.int64(ones(hashes[row, word] ^ hashes[other, word]))
            if differing <= distance:
                if count == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                found[count, 0], found[count, 1], found[count, 2] = row, other, differing
                count += 1
    return found[:count]
