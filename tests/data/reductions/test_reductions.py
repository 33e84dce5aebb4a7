"""Reductions keep what their definitions state, in volumes and over a corpus, by threshold and by share."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.data.reductions import Kept

SCATTERED = st.integers(0, 10**6)


def corpus(count: int, *, volume: int = 10, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Slices that change little by little, volume after volume, and their hashes, which change likewise."""
    draw = np.random.default_rng(seed)
    volumes = np.arange(count) // volume
    words = np.bitwise_xor.accumulate(np.uint64(1) << draw.integers(0, 64, count).astype(np.uint64))
    cases = pd.DataFrame({"row": np.arange(count)[::-1], "case": [f"case{row}" for row in range(count)]})
    cases = cases.assign(patient="p", volume=[f"v{number}" for number in volumes], difference=words)
    cases = cases.assign(perceptual=words[::-1], average=draw.integers(0, 2**64, count, dtype=np.uint64))
    steps = draw.integers(0, 40, (count, 1, 12, 12)) * (draw.random((count, 1, 12, 12)) < 0.25)
    return cases, np.cumsum(steps, axis=0).astype(np.uint8)[::-1]


def reduced(name: str, cases: pd.DataFrame, images: np.ndarray, **options) -> Kept:
    checked = registry.chosen("reductions", Choice(name=name, options=options))
    return registry.load("reductions", name).keep(cases, images, options=checked)


def kept(name: str, count: int, **options) -> np.ndarray:
    return reduced(name, *corpus(count), **options).positions


def by_definition(distances: np.ndarray, volumes: np.ndarray, threshold: float, *, mode: str) -> list[int]:
    """The published loop: what is left is held against its first image; or each against the last kept one."""
    found = []
    for volume in pd.unique(volumes):
        left = np.flatnonzero(volumes == volume)
        while len(left):
            found.append(int(left[0]))
            near = distances[left[0], left] <= threshold
            if mode == "neighbour":
                # only what follows without a gap
                near &= np.cumsum(~near) == 0
            near[0] = True
            left = left[~near]
    return sorted(found)


@given(st.integers(0, 50))
def test_everything_is_everything(count):
    assert kept("everything", count).tolist() == list(range(count))


@given(st.integers(0, 50), st.integers(1, 60))
def test_every_n_starts_with_the_first(count, n):
    assert kept("every_n", count, n=n).tolist() == [row for row in range(count) if row % n == 0]


@given(st.integers(1, 200), st.floats(0.01, 1), st.integers(0, 5))
def test_random_keeps_its_share_once_each_and_in_order(count, share, seed):
    positions = kept("random", count, share=share, seed=seed)
    assert len(positions) == round(share * count)
    assert (np.diff(positions) > 0).all()
    assert set(positions) <= set(range(count))


def test_random_depends_on_its_seed_only_and_nests():
    small, large = kept("random", 500, share=0.1), kept("random", 500, share=0.5)
    assert small.tolist() == kept("random", 500, share=0.1).tolist()
    assert small.tolist() != kept("random", 500, share=0.1, seed=1).tolist()
    assert set(small) < set(large)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("every_n", {}, "missing"),
        ("every_n", {"n": 0}, "every_n.n"),
        ("random", {}, "either share or like"),
        ("random", {"share": 0}, "random.share"),
        ("random", {"share": 1.5}, "random.share"),
        ("random", {"share": 0.5, "like": "hash6"}, "either share or like"),
        ("hash", {"distance": 65}, "hash.distance"),
        ("hash", {"distance": 6, "share": 0.1}, "either distance or share"),
        ("hash", {"of": "wavelet"}, "hash.of"),
        ("ssim", {"similarity": 0.9, "share": 0.1}, "either similarity or share"),
        ("mutual_information", {"similarity": 0.9, "share": 0.1}, "either similarity or share"),
        ("mutual_information", {"bins": 1}, "mutual_information.bins"),
        ("embedding", {}, "embedding.source: missing"),
        ("embedding", {"source": "a", "similarity": 0.9, "share": 0.1}, "either similarity or share"),
    ],
)
def test_impossible_options_are_refused(name, options, told):
    with pytest.raises(UserError, match=told):
        kept(name, 5, **options)


@given(st.integers(0, 50), st.integers(1, 12))
def test_every_n_of_each_volume_starts_with_its_first(count, n):
    found = reduced("every_n", *corpus(count), n=n, per="volume")
    assert found.positions.tolist() == [row for row in range(count) if row % 10 % n == 0]
    # the last kept one before each, of its volume
    assert found.leader.tolist() == [row - row % 10 % n for row in range(count)]


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 90),
    seed=SCATTERED,
    of=st.sampled_from(["difference", "perceptual", "average"]),
    distance=st.sampled_from([0, 3, 6, 12, 30]),
    per=st.sampled_from(["volume", "corpus"]),
    mode=st.sampled_from(["leader", "neighbour"]),
)
def test_hashes_keep_what_the_published_loop_keeps(count, seed, of, distance, per, mode):
    cases, images = corpus(count, seed=seed)
    found = reduced("hash", cases, images, of=of, distance=distance, per=per, mode=mode)
    words = cases[of].to_numpy(np.uint64)
    apart = np.bitwise_count(words[:, None] ^ words)
    volumes = cases["volume"].to_numpy() if per == "volume" else np.zeros(count)
    assert found.positions.tolist() == by_definition(apart, volumes, distance, mode=mode)
    assert found.distance.tolist() == [apart[leader, row] for row, leader in enumerate(found.leader)]
    assert found.distance.max(initial=0) <= distance


@pytest.fixture(scope="module")
def slices() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A corpus, and how far its images are by scikit-learn's information in 16 parts of the grey range."""
    cases, images = corpus(24)
    seen = [(image // 16).ravel() for image in images[cases["row"], 0]]
    return cases, images, np.array([[1 - normalized_mutual_info_score(one, other) for other in seen] for one in seen])


@pytest.mark.parametrize("mode", ["leader", "neighbour"])
@pytest.mark.parametrize("per", ["volume", "corpus"])
@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.7])
def test_information_keeps_what_the_published_loop_keeps(slices, similarity, per, mode):
    cases, images, apart = slices
    options = {"similarity": similarity, "bins": 16, "per": per, "mode": mode}
    found = reduced("mutual_information", cases, images, **options)
    volumes = cases["volume"].to_numpy() if per == "volume" else np.zeros(24)
    assert found.positions.tolist() == by_definition(apart, volumes, 1 - similarity, mode=mode)
    assert found.distance == pytest.approx(apart[found.leader, np.arange(24)], abs=1e-9)
    assert 1 < len(found.positions) < 24


def test_structure_drops_noise_and_keeps_another_picture():
    draw = np.random.default_rng(0)
    first, second = draw.integers(0, 200, (2, 1, 16, 16), dtype=np.uint8)
    images = np.stack([first, first + 1, second, second + 1, first + 2])
    cases, _ = corpus(5)
    cases = cases.assign(row=range(5))
    assert reduced("ssim", cases, images).leader.tolist() == [0, 0, 2, 2, 0]
    assert reduced("ssim", cases, images, mode="neighbour").leader.tolist() == [0, 0, 2, 2, 4]
    # of colours the grey counts
    coloured = np.repeat(images, 3, axis=1)
    assert reduced("ssim", cases, coloured).leader.tolist() == [0, 0, 2, 2, 0]


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 70), seed=SCATTERED, share=st.sampled_from([0.05, 0.1, 0.34, 0.5, 1.0]))
def test_a_share_is_kept_of_each_volume(count, seed, share):
    cases, images = corpus(count, seed=seed)
    found = reduced("hash", cases, images, share=share)
    sizes, many = cases["volume"].value_counts(), cases["volume"].iloc[found.positions].value_counts()
    assert many.to_dict() == {volume: max(1, round(share * size)) for volume, size in sizes.items()}
    whole = reduced("hash", cases, images, share=share, per="corpus")
    assert len(whole.positions) == max(1, round(share * count))


@pytest.mark.parametrize("name", ["ssim", "mutual_information"])
def test_a_share_is_kept_by_any_measure(name):
    found = reduced(name, *corpus(30), share=0.2)
    assert np.bincount(found.positions // 10).tolist() == [2, 2, 2]


def test_a_share_is_filled_up_by_what_is_farthest_from_its_leader():
    cases, images = corpus(4)
    cases = cases.assign(difference=np.array([0, 0b1, 0b110, 0b11000], np.uint64))
    # at one bit three are left, at two only the first: the next is the first of those that are two bits away
    found = reduced("hash", cases, images, share=0.5, per="corpus")
    assert found.leader.tolist() == [0, 0, 2, 0]
    assert found.distance.tolist() == [0, 1, 0, 2]


def features(count: int, seed: int = 0) -> np.ndarray:
    """Features that turn little by little, slice after slice; stored in the order of the rows, which is another."""
    steps = np.random.default_rng(seed).normal(size=(count, 6)) * 0.2
    turning = np.cumsum(steps, axis=0) + np.array([3, 0, 0, 0, 0, 0])
    return turning.astype(np.float16)[::-1]


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 60),
    seed=SCATTERED,
    similarity=st.sampled_from([-1.0, 0.5, 0.9, 0.99, 1.0]),
    per=st.sampled_from(["volume", "corpus"]),
    mode=st.sampled_from(["leader", "neighbour"]),
)
def test_embeddings_keep_what_the_published_loop_keeps(count, seed, similarity, per, mode):
    cases, _ = corpus(count)
    told = features(count, seed)
    found = reduced("embedding", cases, told, source="any", similarity=similarity, per=per, mode=mode)
    ordered = told[::-1].astype(float)
    squares = (ordered**2).sum(axis=1)
    apart = 1 - np.clip(ordered @ ordered.T / np.sqrt(squares[:, None] * squares), -1, 1)
    volumes = cases["volume"].to_numpy() if per == "volume" else np.zeros(count)
    assert found.positions.tolist() == by_definition(apart, volumes, 1 - similarity, mode=mode)
    assert found.distance.tolist() == [apart[leader, row] for row, leader in enumerate(found.leader)]


@pytest.mark.parametrize("mode", ["leader", "neighbour"])
@pytest.mark.parametrize("share", [0.1, 0.34, 1.0])
def test_a_share_of_each_volume_is_kept_by_embedding(share, mode):
    cases, _ = corpus(47)
    found = reduced("embedding", cases, features(47), source="any", share=share, mode=mode)
    sizes, many = cases["volume"].value_counts(), cases["volume"].iloc[found.positions].value_counts()
    assert many.to_dict() == {volume: max(1, round(share * size)) for volume, size in sizes.items()}
    whole = reduced("embedding", cases, features(47), source="any", share=share, per="corpus", mode=mode)
    assert len(whole.positions) == max(1, round(share * 47))
