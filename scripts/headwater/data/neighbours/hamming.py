"""Hamming distances: which of many hashes differ in few bits, found exactly and without comparing all with all.

Two hashes that differ in at most d bits agree wholly in one of any d + 1 bands (pigeonhole; Norouzi, Punjani & Fleet
2014, section 3): only hashes that share a band are compared.
"""

import numba
import numpy as np

WORD = 64


def neighbours(hashes: np.ndarray, *, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """(pairs, distances) of the hashes, uint64 (hashes, words), that differ in at most `distance` bits.

    Pairs int64 (pairs, 2), the smaller row first, in order. The hashes must differ from one another: of n that are
    equal, n x n pairs would be told.
    """
    bits = hashes.shape[1] * WORD
    if distance >= bits:
        raise ValueError(f"{distance} bits of {bits} are no near distance")
    bands = _bands(hashes, count=distance + 1)
    found = [_within(hashes, bands, number, distance) for number in range(len(bands))]
    pairs, away = np.concatenate([pair for pair, _ in found]), np.concatenate([far for _, far in found])
    order = np.lexsort(pairs.T[::-1])
    return pairs[order], away[order]


def _bands(hashes: np.ndarray, *, count: int) -> np.ndarray:
    """Keys int64 (bands, hashes): hashes agree in a band's bits if and only if they have the same key.

    Bits are dealt to the bands one by one from the most even to the least, so that no band is much poorer than others.
    """
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8), axis=1)
    order = np.argsort(np.abs(bits.mean(axis=0) - 0.5), kind="stable") if len(bits) else np.arange(bits.shape[1])
    dealt = [bits[:, order[number::count]] for number in range(count)]
    return np.stack([_numbered(band) for band in dealt])


def _numbered(band: np.ndarray) -> np.ndarray:
    """A number for each row of bits (hashes, bits), equal for equal rows only."""
    packed = np.packbits(band, axis=1)
    rows = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    return np.unique(rows, return_inverse=True)[1].astype(np.int64)


def _within(hashes: np.ndarray, bands: np.ndarray, number: int, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Near pairs that share this band and none before it."""
    order = np.argsort(bands[number], kind="stable")
    keys = bands[number][order]
    begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    ends = np.append(begins[1:], len(keys))
    many = _count(hashes, bands, number, distance, order, begins, ends)
    pairs, away = np.empty((many, 2), np.int64), np.empty(many, np.int64)
    _fill(hashes, bands, number, distance, order, begins, ends, pairs, away)
    return pairs, away


@numba.njit(nogil=True, cache=True)
def ones(word):
    """How many bits of a word are set."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@numba.njit(nogil=True, cache=True)
def _near(hashes, bands, number, distance, one, other):
    """Bits in which two hashes differ, or -1 if they are too many, or if a band before this one has told the pair."""
    away = 0
    for word in range(hashes.shape[1]):
        away += np.int64(ones(hashes[one, word] ^ hashes[other, word]))
        if away > distance:
            return -1
    for before in range(number):
        if bands[before, one] == bands[before, other]:
            return -1
    return away


@numba.njit(nogil=True, cache=True)
def _count(hashes, bands, number, distance, order, begins, ends):
    """How many pairs a band tells."""
    many = 0
    for group in range(len(begins)):
        for first in range(begins[group], ends[group]):
            for second in range(first + 1, ends[group]):
                many += _near(hashes, bands, number, distance, order[first], order[second]) >= 0
    return many


@numba.njit(nogil=True, cache=True)
def _fill(hashes, bands, number, distance, order, begins, ends, pairs, away):
    """Those pairs and their distances."""
    place = 0
    for group in range(len(begins)):
        for first in range(begins[group], ends[group]):
            for second in range(first + 1, ends[group]):
                far = _near(hashes, bands, number, distance, order[first], order[second])
                if far >= 0:
                    pairs[place, 0] = min(order[first], order[second])
                    pairs[place, 1] = max(order[first], order[second])
                    away[place] = far
                    place += 1
