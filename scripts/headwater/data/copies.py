"""Copies: pairs of images of which one is the other mirrored, turned, inverted, padded, cropped or otherwise edited.

Sketches that may show one image are found by the signs of their lower frequencies (`candidates`), then laid over each
other (`alignment`). Whether two images are copies depends on no other image.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
from threadpoolctl import threadpool_limits

from headwater.data import sketches
from headwater.data.neighbours import alignment, candidates
from headwater.data.neighbours.hamming import neighbours
from headwater.data.perceptual_hash import LEDGER

THREADS = min(4, len(os.sched_getaffinity(0)))
"""Threads of the search, on the processors of the job; the result does not depend on their number."""

PIECE = 2048
"""Sketches, and candidates, that a thread treats at a time."""

MIRRORED, UPSIDE_DOWN, TURNED, INVERTED = 1, 2, 4, 8
"""What was done to a copy, as a sum: turned means that rows became columns."""

SAME = 0.8
"""Agreement of copies, at least. Of 500,000 pairs of radiographs of two patients the closest reach 0.65, and CLAHE, the
edit that changes sketches most, leaves 0.82 of most; see docs/explanation/leaks.md."""

_CENTRAL = tuple((share, 0.5, share, 0.5) for share in (0.0, 0.04, 0.08))
_CORNERS = tuple((share, above, share, left) for share in (0.03, 0.08) for above in (0.0, 1.0) for left in (0.0, 1.0))
_ABOVE_OR_BELOW = tuple((share, above, 0.0, 0.5) for share in (0.04, 0.08) for above in (0.0, 1.0))
_ON_ONE_SIDE = tuple((0.0, 0.5, share, left) for share in (0.04, 0.08) for left in (0.0, 1.0))

CROPS = (*_CENTRAL, *_CORNERS, *_ABOVE_OR_BELOW, *_ON_ONE_SIDE)
"""Crops that are looked for: the lost share of the height, how much of it above, and the same of the width."""

WHOLLY = 0.45
"""Correlation of candidates in all frequencies, at least; the others are not aligned."""

EXACT = 2**10
"""Crops are computed in whole numbers, in units of this share, so that rounding is the same everywhere."""

FINER = 4 / EXACT**2
"""What takes these to whole numbers again: finer than the levels of a sketch, as signs near zero matter."""

WORDS = ("mirrored", "upside down", "turned by 90 degrees", "inverted")


class Copies(NamedTuple):
    """Pairs of images that are copies of each other."""

    pairs: np.ndarray
    """int64 (pairs, 2), the smaller row first, in order."""
    edits: np.ndarray
    """int8 (pairs,): a sum of MIRRORED, UPSIDE_DOWN, TURNED and INVERTED; 0 if none of these was seen."""


def near(words: np.ndarray, *, distance: int) -> Copies:
    """Pairs of images whose hashes, all distinct, differ in at most `distance` bits, and all other pairs of copies.

    Words are those of `perceptual_hash.of_ledger`.
    """
    by_hash, _ = neighbours(np.ascontiguousarray(words[:, :LEDGER]), distance=distance)
    by_sketch = between(words[:, LEDGER:])
    pairs = np.concatenate([by_hash, by_sketch.pairs])
    edits = np.concatenate([np.zeros(len(by_hash), np.int8), by_sketch.edits])
    # of a pair that both ways find, the first is kept: its hash says that it was neither flipped nor inverted
    unique, first = np.unique(pairs, axis=0, return_index=True)
    return Copies(pairs=unique, edits=edits[first])


def in_words(edits: int) -> str:
    """What was done to a copy, such as "mirrored, inverted"; empty if nothing of the kind."""
    return ", ".join(word for bit, word in enumerate(WORDS) if edits >> bit & 1)


def between(drawn: np.ndarray, *, least: float = SAME) -> Copies:
    """All copies among images, by their sketches uint64 (images, sketches.WORDS); they agree by `least` or more."""
    views = drawn.reshape(len(drawn), sketches.VIEWS, sketches.LENGTH // 16)
    shown = (views != sketches.BLANK).any(axis=2)
    # without borders both sketches are the same
    shown[:, 0] &= (views[:, 0] != views[:, 1]).any(axis=1)
    image, view = np.nonzero(shown)
    words = views[image, view]
    index = candidates.index(words, image)
    pieces = [slice(begin, begin + PIECE) for begin in range(0, len(words), PIECE)]
    # one thread of the matrix library for each of ours, or they wait for each other's processors
    with ThreadPoolExecutor(THREADS) as threads, threadpool_limits(1):
        searched = threads.map(lambda piece: _candidates(words, image, view > 0, index, piece), pieces)
        found = np.concatenate([np.zeros((0, 4), np.int64), *searched])
        low, high = (np.sort(image[found[:, :2]], axis=1)).T
        found = found[np.lexsort((*found.T[::-1], high, low))]
        parts = [found[begin : begin + PIECE] for begin in range(0, len(found), PIECE)]
        same = [np.zeros(0, bool), *threads.map(lambda part: _same(words, image, part, least), parts)]
    return _pairs(image, found[np.concatenate(same)])


def agreement(drawn: np.ndarray, other: np.ndarray, *, edits: int = 0, crop: int = 0) -> float:
    """How well the best placement makes two sketches agree, from -1 to 1, after `edits` and a crop of the first."""
    both = np.stack([drawn, other])
    return float(_agreements(both, np.array([[0, 1, edits, crop]]), np.array([0, 1]), 2.0, *_TABLES)[0])


def _pairs(image: np.ndarray, found: np.ndarray) -> Copies:
    """Each pair once, with the first way in which it was found."""
    query, other = image[found[:, 0]], image[found[:, 1]]
    # to go back from a turned image, mirroring and turning upside down change places
    turned = (found[:, 2] & TURNED) > 0
    back = found[:, 2] & ~(MIRRORED | UPSIDE_DOWN) | (found[:, 2] & MIRRORED) << 1 | (found[:, 2] & UPSIDE_DOWN) >> 1
    edits = np.where((query > other) & turned, back, found[:, 2])
    pairs, first = np.unique(np.sort(np.stack([query, other], axis=1), axis=1), axis=0, return_index=True)
    return Copies(pairs=pairs, edits=edits[first].astype(np.int8))


def _candidates(
    words: np.ndarray, image: np.ndarray, inside: np.ndarray, index: candidates.Index, piece: slice
) -> np.ndarray:
    """(sketch, sketch, edits, crop) of the candidates of some sketches, int64 (candidates, 4)."""
    full, inner = sketches.unpacked(words[piece]), np.flatnonzero(inside[piece])
    asked = list(_queries(full, inner))
    rows = np.concatenate([rows + piece.start for rows, *_ in asked])
    turned, crop = (np.repeat([one[at] for one in asked], [len(one[0]) for one in asked]) for at in (1, 2))
    most = candidates.MOST if len(full) > 1 else candidates.BANDS * len(rows) * len(words)
    found = candidates.search(np.concatenate([one[3] for one in asked]), image[rows], index, most=most)
    if found is None:
        middle = piece.start + len(full) // 2
        halves = slice(piece.start, middle), slice(middle, piece.start + len(full))
        return np.concatenate([_candidates(words, image, inside, index, half) for half in halves])
    query, sketch, way = found.T
    edits = turned[query] | way & (MIRRORED | UPSIDE_DOWN) | INVERTED * (way // candidates.OPPOSITE)
    every = np.stack([rows[query], sketch, edits, crop[query]], axis=1)
    # in this order each crop of a sketch is computed once
    every = every[np.lexsort((every[:, 2], every[:, 3], every[:, 0]))]
    return every[_resembling(words, every, WHOLLY, PLACES, SIGNS, sketches.ORDER, *NARROWED)]


def _queries(full: np.ndarray, inner: np.ndarray) -> Iterator[tuple[np.ndarray, int, int, np.ndarray]]:
    """(rows, TURNED or 0, number of the crop, low frequencies int8 (rows, numbers)): the sketches of edited images."""
    yield np.arange(len(full)), 0, 0, np.ascontiguousarray(full[:, _LOW])
    yield inner, TURNED, 0, full[inner][:, PLACES[TURNED][_LOW]]
    # rows first, so that each step is one product of two matrices for all sketches together
    square = np.zeros((sketches.SIDE, len(inner), sketches.SIDE))
    square[sketches.ORDER // sketches.SIDE, :, sketches.ORDER % sketches.SIDE] = full[inner].T
    down, right = (maps[:, :_LOWEST] for maps in NARROWED)
    for crops in _ALIKE_ACROSS:
        narrow = (square.reshape(-1, sketches.SIDE) @ right[crops[0]].T).reshape(sketches.SIDE, -1)
        for crop in crops:
            cropped = (down[crop] @ narrow).reshape(_LOWEST, len(inner), _LOWEST)
            yield inner, 0, crop, _levels(cropped, _LOW_ROW, _LOW_COLUMN)


def _same(words: np.ndarray, image: np.ndarray, found: np.ndarray, least: float) -> np.ndarray:
    """Which candidates are copies; of a pair only the first is marked."""
    return _agreements(words, found, image, least, *_TABLES) >= least


def _narrowed(share: float, before: float) -> np.ndarray:
    """Whole numbers (frequencies, frequencies): takes the frequencies of a picture to those of a part of it."""
    points = 2 * sketches.FINE
    picture = alignment.waves(sketches.SIDE, points, start=share * before, width=1 - share)
    return np.rint(alignment.waves(sketches.SIDE, points).T @ picture * (EXACT / points))


def _places() -> np.ndarray:
    """Where each number of a sketch lies in that of the image whose rows are its columns, by edits (16, numbers)."""
    row, column = np.divmod(sketches.ORDER, sketches.SIDE)
    number = np.empty(sketches.LENGTH, np.int64)
    number[sketches.ORDER] = np.arange(sketches.LENGTH)
    turned = number[column * sketches.SIDE + row]
    return np.array([turned if edits & TURNED else np.arange(sketches.LENGTH) for edits in range(16)])


def _signs() -> np.ndarray:
    """By what each number of a sketch is multiplied, by edits, int8 (16, numbers)."""
    row, column = np.divmod(sketches.ORDER, sketches.SIDE)
    odd = {MIRRORED: column % 2, UPSIDE_DOWN: row % 2, INVERTED: np.ones_like(row)}
    turns = [sum(odd[edit] for edit in odd if edits & edit) + np.zeros_like(row) for edits in range(16)]
    return np.array([1 - 2 * (turn % 2) for turn in turns], np.int8)


PLACES, SIGNS = _places(), _signs()
NARROWED = (
    np.array([_narrowed(high, above) for high, above, _, _ in CROPS]),
    np.array([_narrowed(wide, left) for _, _, wide, left in CROPS]),
)
"""What takes the frequencies along either axis to those of a crop, float64 (crops, frequencies, frequencies) each."""

_LOW = candidates.NUMBERS.ravel()
_LOW_ROW, _LOW_COLUMN = np.divmod(sketches.ORDER[_LOW], sketches.SIDE)
"""Which numbers of a sketch candidates are found by, and their frequencies."""

_LOWEST = max(_LOW_ROW.max(), _LOW_COLUMN.max()) + 1

_ALIKE_ACROSS = [
    [crop for crop in range(1, len(CROPS)) if CROPS[crop][2:] == across]
    for across in dict.fromkeys(crop[2:] for crop in CROPS[1:])
]
"""The numbers of crops, but of none, that lose the same on the left and on the right: these share a product."""

_STARTS = np.array(
    [[[1 - high, 0, high * (2 * above - 1)], [0, 1 - wide, wide * (2 * left - 1)]] for high, above, wide, left in CROPS]
)
"""Where a crop lies in the whole picture: a map (2, 3) on coordinates from -1 to 1."""
_TABLES = (
    PLACES,
    SIGNS,
    sketches.ORDER,
    _STARTS,
    alignment.waves(sketches.SIDE, alignment.GRID),
    alignment.waves(sketches.SIDE, alignment.POINTS),
)


@numba.njit(nogil=True, cache=True)
def _levels(cropped, row, column):
    """Some numbers of cropped sketches, (rows, sketches, columns), as int8 (sketches, numbers)."""
    levels = np.empty((cropped.shape[1], len(row)), np.int8)
    for sketch in range(len(levels)):
        for place in range(len(row)):
            number = np.rint(cropped[row[place], sketch, column[place]] * FINER)
            levels[sketch, place] = np.int8(min(max(number, -127.0), 127.0))
    return levels


@numba.njit(nogil=True, cache=True)
def _agreements(words, found, image, enough, places, signs, order, starts, fine, coarse):
    """The agreement of each candidate, float64; -1 where the one before, of the same pair, was enough."""
    agreements = np.full(len(found), -1.0)
    side = fine.shape[1]
    picture, other = np.zeros((side, side)), np.zeros((side, side))
    settled = False
    for number in range(len(found)):
        query, sketch, edits, crop = found[number]
        if number:
            a, b = image[found[number - 1, 0]], image[found[number - 1, 1]]
            c, d = image[query], image[sketch]
            if min(a, b) != min(c, d) or max(a, b) != max(c, d):
                settled = False
        if settled:
            continue
        for place in range(len(order)):
            source = places[edits, place]
            picture[order[place] // side, order[place] % side] = _level(words, query, source) * signs[edits, place]
            other[order[place] // side, order[place] % side] = _level(words, sketch, place)
        picture[0, 0] = other[0, 0] = 0
        # the crop lies in the picture as it was before it was flipped
        start = starts[crop].copy()
        if edits & UPSIDE_DOWN:
            start[0, 2] *= -1
        if edits & MIRRORED:
            start[1, 2] *= -1
        agreements[number] = alignment.agreement(
            np.dot(np.dot(coarse, other), coarse.T), np.dot(np.dot(fine, picture), fine.T), start
        )
        settled = agreements[number] >= enough
    return agreements


@numba.njit(nogil=True, cache=True)
def _resembling(words, found, least, places, signs, order, down, right):
    """Which candidates correlate in all frequencies, bool (candidates,)."""
    kept, own = np.zeros(len(found), np.bool_), np.zeros(len(order))
    for number in range(len(found)):
        query, sketch, edits, crop = found[number]
        former = found[number - 1]
        if number == 0 or query != former[0] or edits != former[2] or crop != former[3]:
            levels = _levels_of(words, query, order, down, right, crop)
            for place in range(len(order)):
                own[place] = levels[places[edits, place]] * signs[edits, place]
        kept[number] = _correlation(own, words, sketch) >= least
    return kept


@numba.njit(nogil=True, cache=True)
def _levels_of(words, sketch, order, down, right, crop):
    """The numbers of a sketch or of a crop of it, whole numbers as float64 (numbers,)."""
    levels, square = np.zeros(len(order)), np.zeros((down.shape[1], down.shape[1]))
    for place in range(1, len(order)):
        levels[place] = _level(words, sketch, place)
        square[order[place] // len(square), order[place] % len(square)] = levels[place]
    if crop:
        square = np.dot(np.dot(down[crop], square), right[crop].T)
        for place in range(1, len(order)):
            levels[place] = np.rint(square[order[place] // len(square), order[place] % len(square)] * FINER)
    return levels


@numba.njit(nogil=True, cache=True)
def _correlation(own, words, sketch):
    """The correlation of whole numbers, of which the first is 0, with a sketch."""
    total = length = other_length = 0.0
    for place in range(1, len(own)):
        theirs = _level(words, sketch, place)
        total += own[place] * theirs
        length += own[place] * own[place]
        other_length += theirs * theirs
    return total / np.sqrt(length * other_length) if length * other_length else 0.0


@numba.njit(nogil=True, cache=True)
def _level(words, sketch, place):
    """A number of a sketch, from its words."""
    half = np.int64(words[sketch, place // 16] >> np.uint64(8 * (place // 2 % 8) + 4 * (1 - place % 2))) & 15
    return 2 * half - 15
