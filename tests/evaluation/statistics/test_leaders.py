"""Leaders by hash equal those of a linear search, for any index, threshold and number of hashes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.data.neighbours import banding, leaders


def flips(draw: np.random.Generator, shape: tuple[int, ...], mean: float, bits: np.ndarray) -> np.ndarray:
    """Words with some random bits among `bits` set."""
    many = draw.poisson(mean, shape)
    words = np.zeros(shape, np.uint64)
    for turn in range(int(many.max(initial=0))):
        bit = np.uint64(1) << bits[draw.integers(0, len(bits), shape)].astype(np.uint64)
        words ^= np.where(many > turn, bit, np.uint64(0))
    return words


def pile(kind: str, count: int, *, seed: int = 0, volume: int = 50) -> np.ndarray:
    """Hashes as they come: of nothing in common, in clusters, of slices one after another, and with idle bits."""
    draw = np.random.default_rng(seed)
    every = np.arange(64)
    if kind == "random":
        return draw.integers(0, 2**64, count, dtype=np.uint64)
    if kind == "clusters":
        centres = draw.integers(0, 2**64, max(1, count // 20), dtype=np.uint64)
        return centres[draw.integers(0, len(centres), count)] ^ flips(draw, (count,), 3.0, every)
    bits = draw.permutation(every)[:24] if kind == "skewed" else every
    volumes = -(-count // volume)
    steps = flips(draw, (volumes, volume), 1.5, bits)
    steps[:, 0] = flips(draw, (volumes,), 3.0, bits) if kind == "skewed" else pile("random", volumes, seed=seed)
    return np.bitwise_xor.accumulate(steps, axis=1).ravel()[:count]


KINDS = ("random", "clusters", "walks", "skewed")


def one_by_one(hashes: np.ndarray, distance: int, groups: np.ndarray | None = None) -> np.ndarray:
    """The definition: kept unless a kept one before it is near; the last of these leads it."""
    groups = np.zeros(len(hashes)) if groups is None else groups
    leader = np.arange(len(hashes))
    for row in range(len(hashes)):
        kept = np.flatnonzero((leader[:row] == np.arange(row)) & (groups[:row] == groups[row]))
        near = kept[np.bitwise_count(hashes[kept] ^ hashes[row]) <= distance]
        leader[row] = near[-1] if len(near) else row
    return leader


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch):
    """Index already what is no larger than a volume, and look up a few hashes at once."""
    monkeypatch.setattr(leaders, "LARGE", 16)
    monkeypatch.setattr(leaders, "STRETCH", 4)


@pytest.mark.parametrize("bands", [0, *banding.BANDS])
@pytest.mark.parametrize("kind", KINDS)
def test_every_index_finds_the_leaders_of_the_definition(small, monkeypatch, kind: str, bands: int):
    monkeypatch.setattr(banding, "_best", lambda *_, **__: bands)
    hashes = pile(kind, 800)
    for distance in (0, 1, 2, 3, 5, 6, 8, 9):
        found = leaders.by_hash(hashes, distance=distance)
        assert np.array_equal(found, one_by_one(hashes, distance)), distance


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 1500), st.integers(0, 64), st.integers(0, 10**6))
def test_leaders_are_those_of_the_definition(kind: str, count: int, distance: int, seed: int):
    hashes = pile(kind, count, seed=seed)
    groups = np.random.default_rng(seed).integers(-2, 3, count)
    for among in (None, groups):
        assert np.array_equal(
            leaders.by_hash(hashes, distance=distance, groups=among), one_by_one(hashes, distance, among)
        )


def test_the_index_that_is_chosen_finds_them_too():
    for kind in KINDS:
        hashes = pile(kind, 12_000)
        assert np.array_equal(leaders.by_hash(hashes, distance=6), one_by_one(hashes, 6))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_threads_look_up_what_one_would_have_found(small, monkeypatch, kind: str, threads: int):
    looked_up, by_threads = [], leaders._looked_up
    monkeypatch.setattr(leaders, "THREADS", threads)
    monkeypatch.setattr(leaders, "_looked_up", lambda *_, **__: looked_up.append(1) or by_threads(*_, **__))
    hashes = pile(kind, 1500, seed=5)
    # a near one comes back at once, so that some are led by what was kept in their own stretch
    hashes[101::7] = hashes[100:-1:7] ^ np.uint64(5)
    assert (leaders.by_hash(hashes, distance=6) == one_by_one(hashes, 6)).all()
    assert looked_up or kind != "random"


def test_large_and_small_groups_lie_side_by_side(small):
    hashes = pile("walks", 600)
    groups = np.minimum(np.arange(600) // 10, 20)
    assert np.array_equal(leaders.by_hash(hashes, distance=6, groups=groups), one_by_one(hashes, 6, groups))


def test_few_kept_hashes_are_looked_through_and_many_through_an_index():
    hashes = pile("random", 30_000)
    assert len(banding.index(hashes[:60], room=100, distance=6).widths) == 0
    assert len(banding.index(hashes, room=200_000, distance=6).widths) in banding.BANDS
    # where each hash is near to every other one no band tells them apart
    assert len(banding.index(hashes, room=200_000, distance=40).widths) == 0


def test_a_chain_of_slices_is_not_one_image():
    """Each differs from the next in one bit: what hangs together by neighbours is the whole volume."""
    chain = np.array([(1 << row) - 1 for row in range(64)], np.uint64)
    kept = np.flatnonzero(leaders.by_hash(chain, distance=6) == np.arange(64))
    assert kept.tolist() == list(range(0, 64, 7))


def test_a_number_of_bits_that_cannot_be_is_told():
    for distance in (-1, 65):
        with pytest.raises(ValueError, match="distance must be from 0 to 64"):
            leaders.by_hash(np.zeros(2, np.uint64), distance=distance)


def bits_between(hashes: np.ndarray):
    return lambda one, other: int(leaders.apart(hashes[one], hashes[other]))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 120), st.integers(0, 20), st.integers(0, 10**6))
def test_leaders_by_any_distance_are_those_by_hash(kind: str, count: int, distance: int, seed: int):
    hashes = pile(kind, count, seed=seed)
    groups = np.random.default_rng(seed).integers(0, 3, count)
    found = leaders.by_distance(count, threshold=distance, between=bits_between(hashes), groups=groups)
    assert np.array_equal(found, one_by_one(hashes, distance, groups))


@given(st.integers(0, 60), st.integers(0, 20), st.integers(0, 10**6))
def test_neighbours_are_held_against_the_last_kept_one_only(count: int, distance: int, seed: int):
    hashes = pile("walks", count, seed=seed)
    found = leaders.by_neighbour(count, threshold=distance, between=bits_between(hashes))
    last = 0
    for row in range(count):
        last = last if np.bitwise_count(hashes[last] ^ hashes[row]) <= distance else row
        assert found[row] == last


def test_neighbours_keep_what_comes_back():
    """A, B, A: the second A is like the first, which is not its neighbour."""
    hashes = np.array([0, 2**20 - 1, 0], np.uint64)
    assert leaders.by_neighbour(3, threshold=6, between=bits_between(hashes)).tolist() == [0, 1, 2]
    assert leaders.by_hash(hashes, distance=6).tolist() == [0, 1, 0]
    groups = np.array([0, 1, 0])
    assert leaders.by_neighbour(3, threshold=6, between=bits_between(hashes), groups=groups).tolist() == [0, 1, 0]
