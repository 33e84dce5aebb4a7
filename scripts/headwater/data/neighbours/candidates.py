"""Candidates: pairs of sketches that may show one image, however it was flipped or inverted, without comparing all.

The signs of some low frequencies of a sketch are dealt to bands. A flip or an inversion turns either all signs of a
band or none, so that a band and its opposite count as equal (a key for all of them, instead of a search for each). Two
sketches are candidates if they agree in one band so, except perhaps for the signs of the few frequencies nearest to
zero in the first sketch (multi-probe hashing: Lv et al. 2007), and if after some flip or inversion the two agree in
enough signs and correlate. Whether two sketches are candidates depends on no other sketch.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np

from headwater.data.neighbours.hamming import THREADS, ones
from headwater.data.sketches import ORDER, SIDE, unpacked

CLASSES = 4
"""Of frequencies by whether their row and their column are odd: a flip or an inversion turns a class as a whole."""

BANDS, KEY = 8, 20
"""Bands in all, two of each class, and signs in each."""

OF_CLASS = 64
"""Frequencies of a class by which candidates are found: a word of signs."""

FIRST = 32
"""The first of them: lower ones are alike in all patients."""

UNSURE = 5
"""Signs of a band that may differ: those of the frequencies nearest to zero."""

APART = 80
"""Signs that may differ in all."""

ALIKE = 0.5
"""Correlation of candidates in these frequencies, at least."""

ACROSS, DOWN, OPPOSITE = 1, 2, 4
"""What is done to a query, as a sum: mirrored (odd columns turn), upside down (odd rows turn), inverted (all turn)."""

WAYS = 8

BUCKETS = 2 ** (KEY - 1)
"""Groups of sketches with the same or opposite signs in a band."""

PARTS = 256
"""Groups of buckets that are searched one after the other, each for all queries: it fits into a processor's cache."""

MOST = 2**23
"""Hits that are kept at a time, 64 MiB: of images that all resemble each other fewer are searched for at a time."""

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

    image: np.ndarray
    """int64 (sketches,): what each shows."""
    low: np.ndarray
    """int8 (sketches, LOW): the frequencies by which candidates are found, class by class."""
    order: np.ndarray
    """int32 (bands, sketches): the sketches sorted by their signs in a band."""
    signs: np.ndarray
    """uint64 (bands, classes, sketches): their signs in that order; they are read one after the other."""
    starts: np.ndarray
    """int32 (bands, buckets + 1): where in that order those with given signs begin."""


def index(words: np.ndarray, image: np.ndarray) -> Index:
    """The index of sketches by their words, uint64 (sketches, words), none of them blank, and the image of each."""
    low = np.empty((len(words), LOW), np.int8)
    for begin in range(0, len(words), PIECE):
        low[begin : begin + PIECE] = unpacked(words[begin : begin + PIECE])[:, NUMBERS.ravel()]
    signs, order = _signs(low), np.empty((BANDS, len(low)), np.int32)
    buckets = [_folded(_keys(low, band)) for band in range(BANDS)]
    in_order = np.empty((BANDS, CLASSES, len(low)), np.uint64)
    starts = np.zeros((BANDS, BUCKETS + 1), np.int32)

    def sort(band: int) -> None:
        order[band] = np.argsort(buckets[band], kind="stable")
        in_order[band] = signs[order[band]].T
        starts[band, 1:] = np.cumsum(np.bincount(buckets[band], minlength=BUCKETS))

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(sort, range(BANDS)))
    return Index(image, low, order, in_order, starts)


def search(queries: np.ndarray, own: np.ndarray, among: Index, *, most: int) -> np.ndarray | None:
    """(query, sketch, way) of all candidates that show another image than the query: int64 (candidates, 3), in order.

    Queries are int8 (queries, LOW); `own` is the image of each. None if there are more than `most` hits to look at.
    """
    signs, hits = _signs(queries), [np.zeros(0, np.int64)]
    for band in range(BANDS):
        probes = _probes(_keys(queries, band), _flips(queries, band))
        of_band = among.order[band], among.signs[band], among.starts[band]
        hits.append(_hits(probes, signs, own, among.image, *of_band, most))
        most -= len(hits[-1])
        if most < 0:
            return None
    # most candidates share several bands
    return _alike(np.unique(np.concatenate(hits)), queries, signs, among.low)


@numba.njit(nogil=True, cache=True)
def _signs(low):
    """The signs of each class as a word, uint64 (sketches, classes)."""
    words = np.zeros((len(low), CLASSES), np.uint64)
    for row in range(len(low)):
        for kind in range(CLASSES):
            word = np.uint64(0)
            for place in range(OF_CLASS * kind, OF_CLASS * (kind + 1)):
                word = word << np.uint64(1) | np.uint64(low[row, place] > 0)
            words[row, kind] = word
    return words


@numba.njit(nogil=True, cache=True)
def _keys(low, band):
    """The signs of a band as a number, int64 (sketches,)."""
    first, keys = _first(band), np.zeros(len(low), np.int64)
    for row in range(len(low)):
        for place in range(KEY):
            keys[row] = 2 * keys[row] + (low[row, first + 2 * place] > 0)
    return keys


@numba.njit(nogil=True, cache=True)
def _flips(low, band):
    """What to turn in a key for each choice of its least sure signs, int64 (sketches, 2**UNSURE)."""
    first, flips = _first(band), np.zeros((len(low), 2**UNSURE), np.int64)
    sizes = np.empty(KEY, np.int32)
    for row in range(len(low)):
        for place in range(KEY):
            sizes[place] = abs(np.int32(low[row, first + 2 * place])) * KEY + place
        for unsure in range(UNSURE):
            smallest = sizes[0]
            for size in sizes[1:]:
                smallest = min(smallest, size)
            least = smallest % KEY
            sizes[least] = 1000 * KEY
            for earlier in range(1 << unsure):
                flips[row, earlier + (1 << unsure)] = flips[row, earlier] | 1 << (KEY - 1 - least)
    return flips


@numba.njit(nogil=True, cache=True)
def _first(band):
    """The first number of a band. A class has two bands, and each has every second of its numbers."""
    return band // 2 * OF_CLASS + band % 2


@numba.vectorize(nopython=True, cache=True)
def _folded(key):
    """The bucket of a band's signs as a number, which is also that of the opposite signs."""
    return min(key, 2 * BUCKETS - 1 - key)


@numba.njit(nogil=True, cache=True)
def _probes(keys, flips):
    """The buckets in which to look for each query, as BUCKETS * query + bucket: int64 (probes,), part by part."""
    ends, size = np.zeros(PARTS + 1, np.int64), BUCKETS // PARTS
    # by numbers: a row taken out of an array costs more than a probe
    for query in range(len(keys)):
        for flip in range(flips.shape[1]):
            ends[_folded(keys[query] ^ flips[query, flip]) // size + 1] += 1
    ends, probes = np.cumsum(ends), np.empty(flips.size, np.int64)
    for query in range(len(keys)):
        for flip in range(flips.shape[1]):
            bucket = _folded(keys[query] ^ flips[query, flip])
            probes[ends[bucket // size]] = BUCKETS * query + bucket
            ends[bucket // size] += 1
    return probes


@numba.njit(nogil=True, cache=True)
def _hits(probes, signs, own, image, order, in_order, starts, most):
    """Queries and sketches of other images that share a bucket and most signs, int64: sketches * query + sketch.

    There are no more than `most` and one.
    """
    found, count = np.empty(1024, np.int64), 0
    for probe in probes:
        query, bucket = probe // BUCKETS, probe % BUCKETS
        begin, end = np.int64(starts[bucket]), np.int64(starts[bucket + 1])
        if begin == end:
            continue
        word = signs[query, 0], signs[query, 1], signs[query, 2], signs[query, 3]
        if _fewest(word, in_order, begin, end) > APART:
            continue
        for place in range(begin, end):
            if image[order[place]] == own[query] or _fewest(word, in_order, place, place + 1) > APART:
                continue
            if count == len(found):
                found = np.concatenate((found, np.empty_like(found)))
            found[count] = len(order) * query + order[place]
            count += 1
            if count > most:
                return found[:count]
    return found[:count]


@numba.njit(nogil=True, cache=True)
def _fewest(own, in_order, begin, end):
    """The fewest signs that differ in one of some sketches, however classes are turned."""
    zero, one, two, three = own
    least = np.int64(CLASSES * OF_CLASS)
    # written out, so that a processor compares several sketches at a time
    for place in range(begin, end):
        a, b = np.int64(ones(zero ^ in_order[0, place])), np.int64(ones(one ^ in_order[1, place]))
        c, d = np.int64(ones(two ^ in_order[2, place])), np.int64(ones(three ^ in_order[3, place]))
        a, b, c, d = min(a, OF_CLASS - a), min(b, OF_CLASS - b), min(c, OF_CLASS - c), min(d, OF_CLASS - d)
        least = min(least, a + b + c + d)
    return least


@numba.njit(nogil=True, cache=True)
def _alike(hits, queries, signs, low):
    """(query, sketch, way) of those that agree in enough signs and correlate, int64 (candidates, 3)."""
    found, count = np.empty((1024, 3), np.int64), 0
    apart, products = np.empty(CLASSES, np.int64), np.empty(CLASSES, np.int64)
    for hit in hits:
        query, sketch = hit // len(low), hit % len(low)
        other = _signs(low[sketch : sketch + 1])[0]
        least = ALIKE * np.sqrt(_square(queries[query]) * _square(low[sketch]))
        for kind in range(CLASSES):
            apart[kind] = np.int64(ones(signs[query, kind] ^ other[kind]))
            products[kind] = _product(queries[query], low[sketch], kind)
        for way in range(WAYS):
            differing, total = 0, 0
            for kind in range(CLASSES):
                differing += OF_CLASS - apart[kind] if TURNS[way, kind] else apart[kind]
                total += -products[kind] if TURNS[way, kind] else products[kind]
            if differing > APART or total < least:
                continue
            if count == len(found):
                found = np.concatenate((found, np.empty_like(found)))
            found[count, 0], found[count, 1], found[count, 2] = query, sketch, way
            count += 1
    return found[:count]


@numba.njit(nogil=True, cache=True)
def _product(row, other, kind):
    """The sum of products of the numbers of a class."""
    total = 0
    for place in range(OF_CLASS * kind, OF_CLASS * (kind + 1)):
        total += np.int64(row[place]) * np.int64(other[place])
    return total


@numba.njit(nogil=True, cache=True)
def _square(row):
    """The sum of squares of all numbers, float64."""
    total = 0.0
    for kind in range(CLASSES):
        total += _product(row, row, kind)
    return total
