"""Shared units: what cases can have in common, such as a patient or an image, and which parts of a study have it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from headwater.data import copies, perceptual_hash
from headwater.data.neighbours.hamming import neighbours

NEAR = "near-identical"

NONE = -1
"""The number of a unit, or the position of a case, that there is not."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """Numbered units that cases can share, such as patients or images, and the parts that have matching ones.

    Two units match if they count as the same: themselves, or near-identical images.
    """

    kind: str
    numbers: np.ndarray
    """int64 (cases,): the unit of each case, -1 if it has none."""
    matched: np.ndarray
    """bool (units, parts): whether a part has a case that matches the unit."""
    repeated: np.ndarray
    """bool (units, parts): whether a part with the unit has another case that matches it."""
    partners: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """(cases, others) -> for each case the first of the others, besides itself, that matches it; -1 without one."""


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Which images look alike: those of one perceptual hash, of two that differ in few bits, and edited copies."""

    numbers: np.ndarray
    """int64 (cases,): the image of each case; copies of an image are one."""
    hash_of: np.ndarray
    """int64 (images,): the hash of each image."""
    pairs: np.ndarray
    """int64 (pairs, 2), in order: two hashes that differ in few bits, or of edited copies."""
    edits: np.ndarray
    """int8 (pairs,): what was done to the copies, see `copies.in_words`."""
    hashes: int

    def of(self, chosen: np.ndarray) -> "Alike":
        """The same for some of the cases."""
        return replace(self, numbers=self.numbers[chosen])

    def edited(self, cases: np.ndarray, others: np.ndarray) -> list[str]:
        """What was done to one of each two cases to make the other of it, such as "mirrored"; mostly nothing."""
        both = self.hash_of[self.numbers[np.stack([cases, others], axis=1)]]
        some = self.edits > 0
        edits = dict(zip(map(tuple, self.pairs[some].tolist()), self.edits[some].tolist(), strict=True))
        return [copies.in_words(edits.get(tuple(pair), 0)) for pair in np.sort(both, axis=1).tolist()]


def alike(pixels: pd.Series, words: np.ndarray, *, distance: int, edited_copies: bool = False) -> Alike:
    """Which images look alike, by their hashes and, as edited copies, by their sketches (cases, words)."""
    # copies of an image are one unit, as identical images are an overlap of their own
    numbers, _ = pd.factorize(pixels)
    first = np.unique(numbers, return_index=True)[1]
    # different images may have one hash; each is needed once, and the first image stands for all
    hashes, shown_by, hash_of = np.unique(
        words[first, : perceptual_hash.LEDGER], axis=0, return_index=True, return_inverse=True
    )
    if edited_copies:
        pairs, edits = copies.near(words[first[shown_by]], distance=distance)
    else:
        pairs, _ = neighbours(hashes, distance=distance)
        edits = np.zeros(len(pairs), np.int8)
    return Alike(numbers=numbers, hash_of=hash_of.reshape(-1), pairs=pairs, edits=edits, hashes=len(hashes))


def equal(kind: str, names: pd.Series, part: np.ndarray, *, parts: int) -> Units:
    """Units of cases with equal names; NaN, which factorize numbers -1, matches none."""
    numbers = pd.factorize(names)[0]
    count = numbers.max(initial=NONE) + 1
    held = _held(numbers, part, units=count, parts=parts)

    def partners(cases: np.ndarray, others: np.ndarray) -> np.ndarray:
        first, second = _first_two(numbers[others], others, count=count)
        places = first[numbers[cases]]
        itself = np.append(others, NONE)[places] == cases
        return np.append(others, NONE)[np.where(itself, second[numbers[cases]], places)]

    return Units(kind=kind, numbers=numbers, matched=held > 0, repeated=held > 1, partners=partners)


def near(images: Alike, part: np.ndarray, *, parts: int) -> Units:
    """Units of different images that look alike."""
    numbers, hash_of, pairs = images.numbers, images.hash_of, images.pairs
    held = _held(numbers, part, units=len(hash_of), parts=parts) > 0
    # number of different images of each hash in each part: int64 (hashes, parts)
    counts = np.zeros((images.hashes, parts), np.int64)
    np.add.at(counts, hash_of, held)
    around = counts.copy()
    np.add.at(around, pairs[:, 0], counts[pairs[:, 1]])
    np.add.at(around, pairs[:, 1], counts[pairs[:, 0]])

    def partners(cases: np.ndarray, others: np.ndarray) -> np.ndarray:
        theirs, own = numbers[others], numbers[cases]
        first, second = _first_two(hash_of[theirs], theirs, count=images.hashes)
        of_neighbours = np.full(images.hashes, len(others))
        np.minimum.at(of_neighbours, pairs[:, 0], first[pairs[:, 1]])
        np.minimum.at(of_neighbours, pairs[:, 1], first[pairs[:, 0]])
        places = first[hash_of[own]]
        # of the images with its own hash, one that is not the same
        places = np.where(np.append(theirs, NONE)[places] == own, second[hash_of[own]], places)
        return np.append(others, NONE)[np.minimum(places, of_neighbours[hash_of[own]])]

    # `around` counts the image itself in the parts that have it
    matched = around[hash_of] - held > 0
    return Units(kind=NEAR, numbers=numbers, matched=matched, repeated=matched, partners=partners)


def matching(units: Units, part_of: np.ndarray, part: int, *, among: int) -> np.ndarray:
    """The cases of `part` that match a case of `among`, which may be the same part; `part_of` is the part of each."""
    matched = units.repeated if part == among else units.matched
    candidates = np.flatnonzero((part_of == part) & (units.numbers >= 0))
    return candidates[matched[units.numbers[candidates], among]]


def _held(numbers: np.ndarray, part: np.ndarray, *, units: int, parts: int) -> np.ndarray:
    """The number of cases of each unit in each part: int64 (units, parts)."""
    held = np.zeros((units, parts), np.int64)
    # `held[...] += 1` would count repeated pairs of unit and part once
    np.add.at(held, (numbers[numbers >= 0], part[numbers >= 0]), 1)
    return held


def _first_two(keys: np.ndarray, sorts: np.ndarray, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For each key the first position, and the first one of another sort than that; the length if there is none."""
    first, second = (np.full(count, len(keys)) for _ in range(2))
    np.minimum.at(first, keys, np.arange(len(keys)))
    others = np.flatnonzero(sorts != sorts[first[keys]])
    np.minimum.at(second, keys[others], others)
    return first, second
