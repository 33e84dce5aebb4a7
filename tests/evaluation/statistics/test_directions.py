"""Leaders by direction equal those of a naive search, for any size of blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics.pairwise import cosine_distances

from headwater.data.neighbours import directions, leaders

NUMBERS = st.floats(-1, 1, width=16)


def pile(count: int, *, width: int = 8, centres: int = 0, spread: float = 0.05, seed: int = 0) -> np.ndarray:
    """Rows that point anywhere, or about some centres, as float16."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(count, width))
    if centres:
        rows = draw.normal(size=(centres, width))[draw.integers(0, centres, count)] + spread * rows
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def naive(rows: np.ndarray, threshold: float) -> list[int]:
    """Each row against all that are kept before it, newest first, one pair at a time."""
    exact, kept, found = rows.astype(float), [], []
    for row, one in enumerate(exact):
        near = [
            other
            for other in reversed(kept)
            if 1 - one @ exact[other] / np.sqrt((one @ one) * (exact[other] @ exact[other])) <= threshold
        ]
        found.append(near[0] if near else row)
        kept += [] if near else [row]
    return found


@pytest.fixture(params=[(4, 3), (64, 16), (1024, 8192)])
def blocks(request, monkeypatch):
    """Blocks and tiles of several sizes."""
    monkeypatch.setattr(directions, "BLOCK", request.param[0])
    monkeypatch.setattr(directions, "TILE", request.param[1])


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("centres", [0, 12])
@pytest.mark.parametrize("threshold", [0.0, 0.003, 0.05, 0.4, 1.2])
def test_leaders_are_those_of_the_naive_search(threshold, centres):
    rows = pile(300, centres=centres, seed=centres)
    found = directions.lead(rows, threshold=threshold)
    assert found.tolist() == naive(rows, threshold)
    # many are kept at one end, few at the other
    assert threshold < 0.05 or 1 < len(set(found.tolist())) < 300


def test_a_distance_on_the_threshold_is_near_in_every_block(monkeypatch):
    rows = pile(200, width=64, centres=5, seed=3)
    threshold = float(directions.pairwise(rows[:1], rows[1:2])[0])
    one_by_one = naive(rows, threshold)
    for size in (1, 7, 200):
        monkeypatch.setattr(directions, "BLOCK", size)
        assert directions.lead(rows, threshold=threshold).tolist() == one_by_one


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 25).flatmap(lambda count: arrays(np.float16, (count, 3), elements=NUMBERS)),
    threshold=st.sampled_from([0.0, 0.01, 0.3, 1.0, 2.0]),
)
def test_any_rows_even_of_nothing_have_the_naive_leaders(rows, threshold):
    told = directions.without_nothing(rows)
    assert told.any(axis=1).all()
    assert directions.lead(told, threshold=threshold).tolist() == naive(told, threshold)
    assert directions.among(directions.apart(told, told) <= threshold).tolist() == naive(told, threshold)


def test_rows_of_nothing_are_alike_and_unlike_all_others():
    rows = np.array([[0, 0], [1, 0], [0, 0], [2, 0], [0, 1]], np.float16)
    told = directions.without_nothing(rows)
    assert directions.lead(told, threshold=0.0).tolist() == [0, 1, 0, 1, 4]
    assert directions.apart(told, told)[0].tolist() == [0, 1, 0, 1, 1]


@settings(max_examples=50, deadline=None)
@given(arrays(np.float16, (6, 5), elements=st.floats(2**-10, 1, width=16)))
def test_distances_are_scikit_learns(rows):
    expected = cosine_distances(rows.astype(float))
    assert np.allclose(directions.apart(rows, rows), expected, atol=1e-12)
    assert np.allclose(directions.pairwise(rows, rows[::-1]), np.diag(expected[:, ::-1]), atol=1e-12)
    assert (np.diag(directions.apart(rows, rows)) == 0).all() and (directions.pairwise(rows, rows) == 0).all()


def test_order_and_blocks_change_no_bit_of_a_distance():
    rows = pile(50, width=500, seed=5)
    whole = directions.apart(rows, rows)
    order = np.random.default_rng(0).permutation(500)
    assert (directions.apart(rows[:, order], rows[:, order]) == whole).all()
    assert all(directions.pairwise(rows[[a]], rows[[b]])[0] == whole[a, b] for a in range(50) for b in range(50))


@pytest.mark.parametrize("groups", [None, np.arange(90) % 4])
def test_groups_have_their_own_leaders(groups):
    rows = pile(90, centres=6, seed=9)
    found = leaders.by_direction(rows, threshold=0.02, groups=groups)
    for group in range(4) if groups is not None else [0]:
        members = np.flatnonzero(groups == group) if groups is not None else np.arange(90)
        assert found[members].tolist() == members[naive(rows[members], 0.02)].tolist()
