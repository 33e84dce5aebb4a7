"""Candidates: pairs of sketches that may show one image, found without comparing every pair.

The signs of some low frequencies of a sketch are dealt to bands. Two sketches are candidates if in one band the signs
agree, except perhaps those of the few frequencies nearest to zero in the first sketch (multi-probe hashing: Lv et al.
2007), and if the two correlate as they are. Whether two sketches are candidates depends on no other sketch.
"""

from typing import NamedTuple

import numba
import numpy as np

from headwater.data.neighbours.hamming import ones
from headwater.data.sketches import unpacked

BANDS, KEY = 8, 16
"""Bands, and signs in each."""

LOW = BANDS * KEY
"""Frequencies whose signs are used."""

FIRST = 32
"""The first of them: lower ones are alike in all patients."""

UNSURE = 4
"""Signs of a band that may differ: those of the frequencies nearest to zero."""

APART = 46
"""Signs that may differ in all."""

ALIKE, WHOLLY = 0.5, 0.45
"""Correlation of candidates in these frequencies, and in all, at least."""


PIECE = 4096
"""Sketches that are unpacked at a time."""


class Index(NamedTuple):
    """Sketches by the signs in each band."""

    packed: np.ndarray
    """uint8 (sketches, numbers / 2): two numbers a byte, see sketches.packed."""
    lengths: np.ndarray
    """float64 (sketches,): of each sketch as a vector."""
    low: np.ndarray
    """int8 (sketches, LOW): the frequencies whose signs are used."""
    signs: np.ndarray
    """uint64 (sketches, LOW / 64)"""
    order: np.ndarray
    """int32 (bands, sketches): the sketches sorted by their signs in a band."""
    starts: np.ndarray
    """int32 (bands, keys + 1): where in that order those with given signs begin."""


def index(words: np.ndarray) -> Index:
    """The index of sketches by their words, uint64 (sketches, words), none of them blank."""
    low, lengths = np.empty((len(words), LOW), np.int8), np.empty(len(words))
    for begin in range(0, len(words), PIECE):
        full = unpacked(words[begin : begin + PIECE])
        low[begin : begin + PIECE] = full[:, FIRST : FIRST + LOW]
        lengths[begin : begin + PIECE] = np.linalg.norm(full.astype(np.float64), axis=1)
    bits = low > 0
    order, starts = np.empty((BANDS, len(low)), np.int32), np.zeros((BANDS, 2**KEY + 1), np.int32)
    for band in range(BANDS):
        keys = np.packbits(bits[:, band::BANDS], axis=1).astype(np.int64) @ np.array([256, 1])
        order[band] = np.argsort(keys, kind="stable")
        starts[band, 1:] = np.cumsum(np.bincount(keys, minlength=2**KEY))
    signs = np.packbits(bits, axis=1).view(">u8").astype(np.uint64)
    return Index(np.ascontiguousarray(words).view(np.uint8), lengths, low, signs, order, starts)


@numba.njit(nogil=True, cache=True)
def search(queries, packed, lengths, low, signs, order, starts):
    """(query, sketch) of all candidates, int64 (candidates, 2); queries int8 (queries, numbers), the rest an Index."""
    found, count = np.empty((1024, 2), np.int64), 0
    seen = np.full(len(low), -1, np.int32)
    flips = np.zeros(2**UNSURE, np.int64)
    own = np.zeros(LOW // 64, np.uint64)
    for query in range(len(queries)):
        even, odd = queries[query, 0::2].copy(), queries[query, 1::2].copy()
        row = queries[query, FIRST : FIRST + LOW].copy()
        length, low_length = np.sqrt(_product(even, even) + _product(odd, odd)), np.float64(_product(row, row))
        own[:] = 0
        for place in range(LOW):
            own[place // 64] |= np.uint64(row[place] > 0) << np.uint64(63 - place % 64)
        for band in range(BANDS):
            key = _key(row, band, flips)
            for flip in flips:
                for position in range(starts[band, key ^ flip], starts[band, (key ^ flip) + 1]):
                    sketch = order[band, position]
                    if seen[sketch] == query:
                        continue
                    seen[sketch] = query
                    if not _alike(row, own, low_length, low[sketch], signs[sketch]):
                        continue
                    if _sum(even, odd, packed[sketch]) < WHOLLY * length * lengths[sketch]:
                        continue
                    if count == len(found):
                        found = np.concatenate((found, np.empty_like(found)))
                    found[count, 0], found[count, 1] = query, sketch
                    count += 1
    return found[:count]


@numba.njit(nogil=True, cache=True)
def _product(row, other):
    """The sum of products of two rows int8."""
    total = np.int32(0)
    for place in range(len(row)):
        total += np.int32(row[place]) * np.int32(other[place])
    return total


@numba.njit(nogil=True, cache=True)
def _sum(even, odd, packed):
    """The sum of products of a query, its numbers at even and odd places, and a packed sketch without its mean."""
    total = np.int32(0)
    for place in range(len(packed)):
        first, second = np.int32(packed[place] >> 4), np.int32(packed[place] & 15)
        total += np.int32(even[place]) * (2 * first - 15) + np.int32(odd[place]) * (2 * second - 15)
    return total


@numba.njit(nogil=True, cache=True)
def _key(row, band, flips):
    """The signs of a band as a number; fills `flips` with what to turn for each choice of its least sure signs."""
    key = 0
    for place in range(KEY):
        key = 2 * key + (row[band + BANDS * place] > 0)
    taken, width = 0, 1
    for _ in range(UNSURE):
        least, bit = 1000, 0
        for place in range(KEY):
            size = abs(np.int32(row[band + BANDS * place]))
            turned = 1 << (KEY - 1 - place)
            if size < least and not taken & turned:
                least, bit = size, turned
        taken |= bit
        for earlier in range(width):
            flips[width + earlier] = flips[earlier] | bit
        width *= 2
    return key


@numba.njit(nogil=True, cache=True)
def _alike(row, own, length, other, signs):
    """Whether a query and a sketch agree in enough signs, and correlate."""
    differing = 0
    for word in range(len(own)):
        differing += np.int64(ones(own[word] ^ signs[word]))
    if differing > APART:
        return False
    product = _product(row, other)
    return product > 0 and np.float64(product) ** 2 >= ALIKE**2 * length * _product(other, other)
