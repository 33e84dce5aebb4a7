"""Edited copies of an image are found and named, different patients are not, and the search equals comparing all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from threadpoolctl import threadpool_info, threadpool_limits

from archives_made import SAMPLES
from headwater.data import copies, sketches
from headwater.data.copies import INVERTED, MIRRORED, PLACES, SIGNS, TURNED, UPSIDE_DOWN
from headwater.data.neighbours import candidates
from headwater.data.perceptual_hash import LEDGER, SHORTEST, WORDS, every, of_ledger

RADIOGRAPHS = SAMPLES / "chestxray14_64px" / "images_001" / "images"
SLICES = SAMPLES / "luna16_slices"


def picture(seed: int, *, side: int = 160) -> np.ndarray:
    """A picture of an anatomy that all share, with detail of its own: uint8 (side, side)."""

    def blots(draw: np.random.Generator, cells: int) -> np.ndarray:
        coarse = draw.normal(size=(cells, cells)).astype(np.float32)
        return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))

    shared, own = np.random.default_rng(99), np.random.default_rng(seed)
    drawn = 3 * blots(shared, 4) + 2 * blots(shared, 8) + sum(blots(own, cells) for cells in (8, 20, 40))
    return np.rint((drawn - drawn.min()) / np.ptp(drawn) * 255).astype(np.uint8)


def drawn(*images: np.ndarray) -> np.ndarray:
    """The sketches of images, (images, words)."""
    made = [sketches.both(Image.fromarray(np.ascontiguousarray(image))) for image in images]
    return np.array(made, np.uint64).reshape(len(images), sketches.WORDS)


def pairs(*images: np.ndarray) -> dict[tuple[int, int], str]:
    """What was done to which pair of images."""
    found = copies.between(drawn(*images))
    return {tuple(pair): copies.in_words(edits) for pair, edits in zip(found.pairs.tolist(), found.edits, strict=True)}


def bordered(image: np.ndarray, shade: int) -> np.ndarray:
    return np.pad(image, ((0, 0), (30, 30)), constant_values=shade)


def rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    return np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC))


EDITS = {
    "mirrored": (lambda image: image[:, ::-1], "mirrored"),
    "upside down": (lambda image: image[::-1], "upside down"),
    "half a turn": (lambda image: image[::-1, ::-1], "mirrored, upside down"),
    "quarter of a turn": (np.rot90, None),
    "transposed": (lambda image: image.T, "turned by 90 degrees"),
    "inverted": (lambda image: 255 - image, "inverted"),
    "inverted and mirrored": (lambda image: 255 - image[:, ::-1], "mirrored, inverted"),
    "black bars": (lambda image: bordered(image, 0), ""),
    "white bars": (lambda image: bordered(image, 255), ""),
    "inverted, black bars": (lambda image: bordered(255 - image, 0), "inverted"),
    "cropped": (lambda image: image[3:-3, 3:-3], ""),
    "cropped by a tenth": (lambda image: image[8:-8, 8:-8], ""),
    "cropped above": (lambda image: image[15:], ""),
    "cropped on the right": (lambda image: image[:, :-14], ""),
    "cropped at a corner": (lambda image: image[6:, :-6], ""),
    "cropped at a corner, mirrored, inverted": (lambda image: 255 - image[6:, :-6][:, ::-1], "mirrored, inverted"),
    "cropped above, half a turn": (lambda image: image[15:][::-1, ::-1], "mirrored, upside down"),
    "rotated": (lambda image: rotated(image, 2), ""),
    "rotated back": (lambda image: rotated(image, -2), ""),
    "gamma": (lambda image: np.rint(255 * (image / 255) ** 1.6).astype(np.uint8), ""),
    "12 bits to 8": (lambda image: (image.astype(np.uint16) * 16 + 7 >> 4).astype(np.uint8) // 2 + 60, ""),
}


@pytest.mark.parametrize("edit", list(EDITS))
def test_an_edited_copy_is_found_and_named_in_either_order(edit: str):
    change, said = EDITS[edit]
    edited = change(picture(1))
    for images, pair in (((picture(1), edited, picture(2)), (0, 1)), ((picture(2), edited, picture(1)), (1, 2))):
        found = pairs(*images)
        assert list(found) == [pair]
        assert said is None or found[pair] == said


def test_a_quarter_of_a_turn_is_told_from_the_other():
    left, right = pairs(picture(1), np.rot90(picture(1))), pairs(picture(1), np.rot90(picture(1), 3))
    assert {left[0, 1], right[0, 1]} == {"mirrored, turned by 90 degrees", "upside down, turned by 90 degrees"}
    # the first image is the one that was turned by convention, whichever comes first
    assert pairs(np.rot90(picture(1)), picture(1)) == right


def test_twelve_bits_and_eight_are_near_in_hash_and_sketch():
    twelve = (picture(5).astype(np.int16) * 12 - 1000).astype(np.int16)
    words = of_ledger(np.array([every(twelve), every(picture(5))]))
    assert np.bitwise_count(words[0, :LEDGER] ^ words[1, :LEDGER]).sum() <= 4
    assert copies.between(words[:, LEDGER:]).pairs.tolist() == [[0, 1]]


def test_images_that_show_nothing_are_copies_of_nothing():
    black, white = np.zeros((40, 50), np.uint8), np.full((40, 50), 255, np.uint8)
    assert not drawn(black, white).any()
    assert pairs(black, white, picture(1)) == {}
    assert pairs() == {} and pairs(picture(1)) == {}


def test_an_archive_without_sketches_is_compared_by_hash_alone():
    words = np.array([every(picture(1)), every(picture(1)[:, ::-1])])
    assert words.shape[1] == WORDS
    assert len(copies.near(of_ledger(words), distance=16).pairs) == 1
    assert len(copies.near(of_ledger(words[:, :SHORTEST]), distance=16).pairs) == 0
    assert len(copies.near(of_ledger(words[:, :LEDGER]), distance=16).pairs) == 0


# the arithmetic


@settings(max_examples=40, deadline=None)
@given(edits=st.integers(0, 15), seed=st.integers(0, 5))
def test_an_edit_of_the_image_is_an_edit_of_its_sketch(edits: int, seed: int):
    image = picture(seed, side=64)
    changed = image.T if edits & TURNED else image
    changed = changed[:, ::-1] if edits & MIRRORED else changed
    changed = changed[::-1] if edits & UPSIDE_DOWN else changed
    changed = 255 - changed if edits & INVERTED else changed
    own, theirs = (sketches.unpacked(drawn(one).reshape(2, -1))[0] for one in (image, changed))
    # a level may change where ranks were rounded
    assert np.abs(own[PLACES[edits]] * SIGNS[edits] - theirs).max() <= 2


@given(edits=st.integers(0, 15))
def test_flips_undo_themselves_and_quarter_turns_each_other(edits: int):
    back = edits
    if edits & TURNED:
        back = edits & ~3 | (edits & MIRRORED) << 1 | (edits & UPSIDE_DOWN) >> 1
    numbers = np.arange(1, sketches.LENGTH + 1)
    there = numbers[PLACES[edits]] * SIGNS[edits]
    assert np.array_equal(there[PLACES[back]] * SIGNS[back], numbers)


def test_words_hold_what_was_drawn():
    sketch = np.random.default_rng(3).normal(size=sketches.LENGTH)
    kept = sketches.unpacked(sketches.packed(sketch))
    assert kept[0] == 0 and (kept[1:] % 2 == 1).all()
    assert np.array_equal(np.sign(kept[1:]), np.where(sketch[1:] < 0, -1, 1))
    assert np.corrcoef(kept[1:], sketch[1:])[0, 1] > 0.985
    assert np.array_equal(sketches.unpacked(sketches.packed(-sketch)), -kept)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 20))
def test_the_search_finds_what_comparing_all_pairs_finds(seed: int, count: int):
    draw = np.random.default_rng(seed)
    center = draw.normal(size=sketches.LENGTH)
    rows = center + draw.uniform(0, 1.5, (count, 1)) * draw.normal(size=(count, sketches.LENGTH))
    words = np.array([sketches.packed(row) for row in rows])
    full = sketches.unpacked(words)
    low, image = full[:, candidates.NUMBERS.ravel()], np.arange(count) // 2
    index = candidates.index(words, image)
    found = candidates.search(low, image, index, most=candidates.MOST)
    expected = [
        (one, other, way)
        for one in range(count)
        for other in range(count)
        for way in range(candidates.WAYS)
        if image[one] != image[other] and candidate(low[one], low[other], way=way)
    ]
    assert list(map(tuple, found.tolist())) == expected
    # what is found lies in one band at least
    assert candidates.search(low, image, index, most=-1) is None
    assert found.size == 0 or candidates.search(low, image, index, most=0) is None


def candidate(query: np.ndarray, other: np.ndarray, *, way: int) -> bool:
    """Whether two sketches are candidates once the first is flipped or inverted, by the definition."""
    row, column = np.divmod(sketches.ORDER[candidates.NUMBERS.ravel()], sketches.SIDE)
    turned = (way & 1) * column + (way >> 1 & 1) * row + (way >> 2)
    q, o = query.astype(int), other.astype(int)
    agrees = (q > 0) == (o > 0)
    shared = False
    for odd_row, odd_column, half in np.ndindex(2, 2, 2):
        band = np.flatnonzero((row % 2 == odd_row) & (column % 2 == odd_column))[half : 2 * candidates.KEY : 2]
        assert len(band) == candidates.KEY
        sure = np.setdiff1d(band, band[np.argsort(np.abs(q[band]), kind="stable")[: candidates.UNSURE]])
        shared |= agrees[sure].all() or not agrees[sure].any()
    agrees ^= turned % 2 == 1
    alike = (q * (-1) ** turned) @ o >= candidates.ALIKE * np.linalg.norm(q) * np.linalg.norm(o)
    return bool(shared and (~agrees).sum() <= candidates.APART and alike)


@pytest.mark.skipif(
    not any(pool["user_api"] == "blas" for pool in threadpool_info()),
    reason="the matrix library of this NumPy cannot be asked for its threads",
)
def test_the_matrix_library_has_one_thread_within_the_search(monkeypatch):
    threads = []

    def seen(*_: object) -> np.ndarray:
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return np.zeros((0, 4), np.int64)

    monkeypatch.setattr(copies, "_candidates", seen)
    with threadpool_limits(2):
        copies.between(drawn(picture(0), picture(1)))
        after = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert threads and set(threads) == {1}
    assert set(after) == {2}


@settings(max_examples=30, deadline=None)
@given(edits=st.integers(0, 15), crop=st.integers(0, len(copies.CROPS) - 1), seed=st.integers(0, 99))
def test_candidates_resemble_each_other_as_the_edited_and_cropped_sketch_does(edits: int, crop: int, seed: int):
    one, other = sketches.unpacked(drawn(picture(seed), picture(seed + 1)).reshape(4, -1)[::2])
    square = np.zeros(sketches.LENGTH)
    square[sketches.ORDER] = one
    cropped = copies.NARROWED[0][crop] @ square.reshape(sketches.SIDE, -1) @ copies.NARROWED[1][crop].T
    cropped = np.rint(cropped.ravel()[sketches.ORDER] * copies.FINER)
    changed = (cropped if crop else one.astype(float))[PLACES[edits]] * SIGNS[edits]
    changed[0] = 0
    agreement = changed @ other / np.linalg.norm(changed) / np.linalg.norm(other)
    words = drawn(picture(seed), picture(seed + 1)).reshape(4, -1)[::2]
    found = np.array([[0, 1, edits, crop]])
    for least, kept in ((agreement - 1e-6, True), (agreement + 1e-6, False)):
        tables = (PLACES, SIGNS, sketches.ORDER, *copies.NARROWED)
        assert copies._resembling(words, found, least, *tables).tolist() == [kept]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99))
def test_crops_of_many_sketches_are_those_of_each(seed: int):
    full = np.random.default_rng(seed).choice(np.arange(-15, 16, 2, dtype=np.int8), (3, sketches.LENGTH))
    full[:, 0] = 0
    square = np.zeros((3, sketches.LENGTH))
    square[:, sketches.ORDER] = full
    square = square.reshape(3, sketches.SIDE, sketches.SIDE)
    row, column = np.divmod(sketches.ORDER[candidates.NUMBERS.ravel()], sketches.SIDE)
    for rows, _, crop, queries in list(copies._queries(full, np.arange(3)))[2:]:
        cropped = (copies.NARROWED[0][crop] @ square @ copies.NARROWED[1][crop].T)[:, row, column]
        assert np.array_equal(rows, np.arange(3))
        assert np.array_equal(queries, np.clip(np.rint(cropped * copies.FINER), -127, 127))


def test_the_result_depends_neither_on_the_order_of_images_nor_on_threads(monkeypatch):
    images = [picture(seed) for seed in range(6)] + [picture(2)[:, ::-1], 255 - picture(4)]
    words = drawn(*images)
    assert {tuple(pair) for pair in copies.between(words).pairs.tolist()} == {(2, 6), (4, 7)}
    turned = copies.between(words[::-1])
    assert {tuple(sorted((7 - a, 7 - b))) for a, b in turned.pairs.tolist()} == {(2, 6), (4, 7)}
    monkeypatch.setattr(copies, "PIECE", 3)
    monkeypatch.setattr(copies, "THREADS", 1)
    monkeypatch.setattr(candidates, "MOST", 0)
    small = copies.between(words)
    assert np.array_equal(small.pairs, [[2, 6], [4, 7]]) and small.edits.tolist() == [MIRRORED, INVERTED]


# real images


def read(files: list) -> list[np.ndarray]:
    return [np.asarray(Image.open(file).convert("L")) for file in files]


@pytest.mark.skipif(not RADIOGRAPHS.is_dir(), reason="the sample of ChestX-ray14 is not there")
def test_real_radiographs_are_found_edited_and_told_from_other_patients():
    files = sorted(RADIOGRAPHS.glob("*.png"))[::10]
    originals = read(files)
    for change, least in ((EDITS["mirrored"][0], 100), (EDITS["inverted, black bars"][0], 97), (rotated_two, 97)):
        found = copies.between(drawn(*originals, *map(change, originals))).pairs
        own = found[:, 1] - found[:, 0] == len(originals)
        assert own.sum() >= least
        patients = np.array([file.name[:8] for file in files] * 2)
        assert (patients[found[~own, 0]] == patients[found[~own, 1]]).all()


@pytest.mark.skipif(not SLICES.is_dir(), reason="the slices of LUNA16 are not there")
def test_real_slices_are_found_edited_and_told_from_other_patients():
    files = sorted(SLICES.glob("*.png"))[::4]
    originals = read(files)
    for edit in ("upside down", "inverted"):
        change = EDITS[edit][0]
        found = copies.between(drawn(*originals, *map(change, originals))).pairs
        own = found[:, 1] - found[:, 0] == len(originals)
        assert own.sum() == len(originals) == 30
        series = np.array([file.name.partition(".mhd")[0] for file in files] * 2)
        assert (series[found[~own, 0]] == series[found[~own, 1]]).all()


def rotated_two(image: np.ndarray) -> np.ndarray:
    return rotated(image, 2)
