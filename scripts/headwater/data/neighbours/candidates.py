"""Candidates: pairs of sketches that may show one image, however it was flipped or inverted, without comparing all.

The signs of some low frequencies of a sketch are dealt to bands. A flip or an inversion turns either all signs of a
band or none, so that a band and its opposite count as equal (a key for all of them, instead of a search for each). Two
sketches are candidates if they agree in one band so, except perhaps for the signs of the few frequencies nearest to
zero in the first sketch (multi-probe hashing: Lv et al. 2007), and if after some flip or inversion the two agree in
enough signs and correlate. Whether two sketches are candidates depends on no other sketch.
"""

from typing import NamedTuple

import numba
import numpy as np

from headwater.data.neighbours.hamming import ones
from headwater.data.sketches import ORDER, SIDE, unpacked

CLASSES = 4
"""Of frequencies by whether their row and their column are odd: a flip or an inversion turns a class as a whole."""

BANDS, KEY = 8, 20
"""Bands in all, two of each class, and signs in each."""

OF_CLASS = 64
"""Frequencies of a class by which candidates are found: a word of signs."""

FIRST = 32
"""The first of them: lower ones are alike in all patients."""

UNSURE = 6
"""Signs of a band that may differ: those of the frequencies nearest to zero."""

APART = 80
"""Signs that may differ in all."""

ALIKE = 0.5
"""Correlation of candidates in these frequencies, at least."""

ACROSS, DOWN, OPPOSITE = 1, 2, 4
"""What is done to a query, as a sum: mirrored (odd columns turn), upside down (odd rows turn), inverted (all turn)."""

WAYS = 8

PIECE = 4096
"""Sketches that are unpacked at a time."""


def _numbers() -> np.ndarray:
    """The numbers of a sketch by which candidates are found: int64 (classes, frequencies)."""
    row, column = np.divmod(ORDER, SIDE)
    chosen = [np.flatnonzero(2 * (row % 2) + column % 2 == number) for number in range(CLASSES)]
    return np.array([places[places >= FIRST][:OF_CLASS] for places in chosen])


NUMBERS = _numbers()

LOW = NUMBERS.size

TURNS = np.array(
    [
        [(way & ACROSS) * (kind & 1) ^ (way >> 1 & 1) * (kind >> 1) ^ way >> 2 for kind in range(CLASSES)]
        for way in range(WAYS)
    ]
).astype(np.bool_)
"""Which classes turn their signs, by what is done: bool (WAYS, CLASSES)."""


class Index(NamedTuple):
    """Sketches by the signs in each band."""

    low: np.ndarray
    """int8 (sketches, LOW): the frequencies by which candidates are found, class by class."""
    lengths: np.ndarray
    """float64 (sketches,): of these, as a vector."""
    order: np.ndarray
    """int32 (bands, sketches): the sketches sorted by their signs in a band."""
    signs: np.ndarray
    """uint64 (bands, sketches, classes): their signs in that order; they are read one after the other."""
    starts: np.ndarray
    """int32 (bands, keys + 1): where in that order those with given signs begin."""


def index(words: np.ndarray) -> Index:
    """The index of sketches by their words, uint64 (sketches, words), none of them blank."""
    low = np.empty((len(words), LOW), np.int8)
    for begin in range(0, len(words), PIECE):
        low[begin : begin + PIECE] = unpacked(words[begin : begin + PIECE])[:, NUMBERS.ravel()]
    lengths = np.sqrt(np.einsum("ij,ij->i", low, low, dtype=np.float64))
    bits = low.reshape(len(low), CLASSES, OF_CLASS) > 0
    signs = np.packbits(bits, axis=2).view(">u8")[:, :, 0].astype(np.uint64)
    order, starts = np.empty((BANDS, len(low)), np.int32), np.zeros((BANDS, 2 ** (KEY - 1) + 1), np.int32)
    in_order = np.empty((BANDS, *signs.shape), np.uint64)
    for band in range(BANDS):
        keys = bits[:, band // 2, band % 2 : 2 * KEY : 2] @ (1 << np.arange(KEY)[::-1])
        keys = np.minimum(keys, 2**KEY - 1 - keys)
        order[band] = np.argsort(keys, kind="stable")
        in_order[band] = signs[order[band]]
        starts[band, 1:] = np.cumsum(np.bincount(keys, minlength=2 ** (KEY - 1)))
    return Index(low, lengths, order, in_order, starts)


@numba.njit(nogil=True, cache=True)
def search(queries, low, lengths, order, signs, starts):
    """(query, sketch, way) of all candidates, int64 (candidates, 3); queries int8 (queries, LOW), the rest an Index."""
    found, count = np.empty((1024, 3), np.int64), 0
    seen = np.full(len(low), -1, np.int32)
    flips, own = np.zeros(2**UNSURE, np.int64), np.empty(CLASSES, np.uint64)
    apart, products = np.empty(WAYS, np.int64), np.empty(CLASSES, np.int64)
    for query in range(len(queries)):
        row = queries[query]
        for kind in range(CLASSES):
            own[kind] = _signs(row, kind)
        _multiply(row, row, products)
        least = ALIKE * np.sqrt(np.float64(products.sum()))
        for band in range(BANDS):
            key = _key(row, band, flips)
            for flip in flips:
                bucket = key ^ flip
                bucket = min(bucket, 2**KEY - 1 - bucket)
                for position in range(starts[band, bucket], starts[band, bucket + 1]):
                    if _fewest(own, signs[band, position], apart) > APART:
                        continue
                    sketch = order[band, position]
                    if seen[sketch] == query:
                        continue
                    seen[sketch] = query
                    _multiply(row, low[sketch], products)
                    for way in range(WAYS):
                        if apart[way] > APART or _turned(products, way) < least * lengths[sketch]:
                            continue
                        found = _with_room(found, count)
                        found[count, 0], found[count, 1], found[count, 2] = query, sketch, way
                        count += 1
    return found[:count]


@numba.njit(nogil=True, cache=True)
def _with_room(found, count):
    """The array, twice as long if so many rows fill it."""
    return np.concatenate((found, np.empty_like(found))) if count == len(found) else found


@numba.njit(nogil=True, cache=True)
def _signs(row, kind):
    """The signs of a class as a word."""
    word = np.uint64(0)
    for place in range(OF_CLASS):
        word |= np.uint64(row[kind * OF_CLASS + place] > 0) << np.uint64(OF_CLASS - 1 - place)
    return word


@numba.njit(nogil=True, cache=True)
def _fewest(own, other, apart):
    """The fewest signs that differ after any way; fills in how many differ after each, if those may be few enough."""
    zero, one = np.int64(ones(own[0] ^ other[0])), np.int64(ones(own[1] ^ other[1]))
    two, three = np.int64(ones(own[2] ^ other[2])), np.int64(ones(own[3] ^ other[3]))
    least = min(zero, OF_CLASS - zero) + min(one, OF_CLASS - one)
    least += min(two, OF_CLASS - two) + min(three, OF_CLASS - three)
    if least > APART:
        return least
    least = CLASSES * OF_CLASS
    for way in range(WAYS):
        differing = OF_CLASS - zero if TURNS[way, 0] else zero
        differing += OF_CLASS - one if TURNS[way, 1] else one
        differing += OF_CLASS - two if TURNS[way, 2] else two
        differing += OF_CLASS - three if TURNS[way, 3] else three
        apart[way] = differing
        least = min(least, differing)
    return least


@numba.njit(nogil=True, cache=True)
def _multiply(row, other, products):
    """Fills in the sum of products of either row's numbers, class by class."""
    for kind in range(CLASSES):
        total = np.int32(0)
        for place in range(OF_CLASS * kind, OF_CLASS * (kind + 1)):
            # in 32 bits, of which a processor multiplies several at a time
            total = np.int32(total + np.int32(row[place]) * np.int32(other[place]))
        products[kind] = total


@numba.njit(nogil=True, cache=True)
def _turned(products, way):
    """The sum of products once the classes of a way are turned."""
    total = 0
    for kind in range(CLASSES):
        total += -products[kind] if TURNS[way, kind] else products[kind]
    return total


@numba.njit(nogil=True, cache=True)
def _key(row, band, flips):
    """The signs of a band as a number; fills `flips` with what to turn for each choice of its least sure signs.

    A class has two bands, and each has every second of its signs.
    """
    key, first = 0, band // 2 * OF_CLASS + band % 2
    for place in range(KEY):
        key = 2 * key + (row[first + 2 * place] > 0)
    taken, width = 0, 1
    for _ in range(UNSURE):
        least, bit = 1000, 0
        for place in range(KEY):
            size = abs(np.int32(row[first + 2 * place]))
            turned = 1 << (KEY - 1 - place)
            if size < least and not taken & turned:
                least, bit = size, turned
        taken |= bit
        for earlier in range(width):
            flips[width + earlier] = flips[earlier] | bit
        width *= 2
    return key
