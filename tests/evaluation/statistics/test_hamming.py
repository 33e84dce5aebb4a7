"""Near pairs of hashes equal those of a comparison of all pairs, for any data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.data.neighbours.hamming import neighbours


def by_comparing_all(hashes: np.ndarray, distance: int) -> dict[tuple[int, int], int]:
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    away = (bits[:, None] != bits[None]).sum(axis=2)
    rows = range(len(hashes))
    return {(i, j): int(away[i, j]) for i in rows for j in rows if i < j and away[i, j] <= distance}


def distinct(seed: int, *, count: int, words: int, flips: int) -> np.ndarray:
    """Hashes in families: each a few flips away from one of its elders, some bits the same in all."""
    chance = np.random.default_rng(seed)
    bits = chance.random((count, words * 64)) < 0.5
    bits[:, : words * 16] = True
    for row in range(1, count):
        if chance.random() < 0.7:
            bits[row] = bits[chance.integers(row)]
            bits[row, chance.integers(words * 64, size=chance.integers(1, flips + 1))] ^= True
    return np.unique(np.packbits(bits, axis=1).view(np.uint64), axis=0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 90), words=st.sampled_from([1, 4]), distance=st.integers(0, 40))
def test_the_pairs_are_those_of_comparing_all(seed, count, words, distance):
    hashes = distinct(seed, count=count, words=words, flips=max(1, distance))
    pairs, away = neighbours(hashes, distance=distance)
    assert {(i, j): d for (i, j), d in zip(pairs.tolist(), away.tolist(), strict=True)} == by_comparing_all(
        hashes, distance
    )
    assert pairs.tolist() == sorted(pairs.tolist())


def test_no_hash_has_no_neighbours():
    pairs, away = neighbours(np.zeros((0, 4), np.uint64), distance=3)
    assert pairs.shape == (0, 2) and away.shape == (0,)


def test_a_distance_of_all_bits_is_no_near_distance():
    with pytest.raises(ValueError, match="distance must be < 64"):
        neighbours(np.zeros((2, 1), np.uint64), distance=64)
