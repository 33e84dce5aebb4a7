"""Prepared images and hashes are those that `prepare` wrote, or are refused where they are read."""

from pathlib import Path

import numpy as np
import pytest

import prepared_made
from headwater.core.errors import UserError
from headwater.core.fingerprints import sha256
from headwater.data import store
from headwater.data.store import CASES
from headwater.study.ct_windows import Window


@pytest.fixture
def made(tmp_path: Path) -> prepared_made.Made:
    return prepared_made.archive(tmp_path / "made", cases=12, size=8)


def read(made: prepared_made.Made) -> store.Pixels:
    return store.read(made.cases, images=made.images).images


def test_images_are_mapped_not_read(made: prepared_made.Made):
    pixels = read(made)
    assert isinstance(pixels[:3], np.memmap) and not pixels[:3].flags.writeable
    images = np.load(made.images)
    assert (pixels.shape, pixels.dtype, len(pixels)) == (images.shape, images.dtype, len(images))
    for rows in (
        5,
        slice(2, 9, 3),
        slice(None),
        np.array([7, 0, 7]),
        np.arange(12) % 2 == 0,
        np.array([], dtype=int),
        [],
        [3, 1],
    ):
        np.testing.assert_array_equal(pixels[rows], images[rows])


CHANGES = {
    "one bit": lambda images: np.bitwise_xor(images, np.uint8(1) * (np.indices(images.shape).sum(axis=0) == 0)),
    "all zero": np.zeros_like,
    "another order": lambda images: images[::-1].copy(),
    "a shade more": lambda images: images + np.uint8(1),
    "mirrored": lambda images: images[..., ::-1].copy(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("rows", [0, slice(0, 4), np.array([3, 0])], ids=["one", "slice", "several"])
def test_a_changed_image_is_refused_by_its_case(made: prepared_made.Made, change: str, rows: int | slice | np.ndarray):
    np.save(made.images, CHANGES[change](np.load(made.images)))
    pixels = read(made)
    for _ in range(2):
        with pytest.raises(UserError, match=r"images\.npy: image \d+ \(case00\d\) has changed since it was prepared"):
            pixels[rows]
        if isinstance(rows, np.ndarray):
            with pytest.raises(UserError, match="has changed since it was prepared"):
                pixels.read(rows, into=np.empty((len(rows), *pixels.shape[1:]), pixels.dtype))


def test_several_are_read_in_the_order_of_the_disk_and_come_in_the_order_asked_for(made: prepared_made.Made):
    images, read_rows = np.load(made.images), []

    class Disk:
        def __getitem__(self, row: int) -> np.ndarray:
            read_rows.append(row)
            return images[row]

    pixels, rows = read(made), np.array([5, 0, 5, 8, 1])
    pixels._array, into = Disk(), np.empty((5, *images.shape[1:]), images.dtype)
    for held in (pixels, store.Scans(values=pixels, window=Window(centre=0, width=1))):
        into[...] = 0
        held.read(rows, into=into)
        assert (into == images[rows]).all()
    assert read_rows == 2 * [0, 1, 5, 5, 8]


def test_images_that_are_not_read_are_not_looked_at(made: prepared_made.Made):
    images = np.load(made.images)
    images[5] = 0
    np.save(made.images, images)
    pixels = read(made)
    assert len(pixels[:5]) == 5
    with pytest.raises(UserError, match="case005"):
        pixels[5]
    with pytest.raises(UserError, match="case005"):
        store.check_images(made.images, table=made.cases)


def test_unchanged_images_pass(made: prepared_made.Made, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "PIECE", 5)
    store.check_images(made.images, table=made.cases)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_torn_images_are_refused(made: prepared_made.Made, kept: int):
    made.images.write_bytes(made.images.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"images\.npy: cannot be read: .*; delete it and run prepare again"):
        read(made)


@pytest.mark.parametrize("images", [np.zeros((2, 3, 4, 4)), np.zeros((3, 4, 4), dtype=np.uint8)])
def test_other_arrays_are_refused(made: prepared_made.Made, images: np.ndarray):
    np.save(made.images, images)
    with pytest.raises(UserError, match="not uint8"):
        read(made)


def test_an_array_of_objects_is_refused(made: prepared_made.Made):
    np.save(made.images, np.array([{}], dtype=object))
    with pytest.raises(UserError, match="cannot be read"):
        read(made)


@pytest.mark.parametrize("content", ["archive", b"PK\x03\x04 and no more"])
def test_an_archive_of_arrays_in_an_arrays_place_is_refused(made: prepared_made.Made, content: bytes | str):
    hashes = made.images.with_name("hashes.npy")
    for file, reads in ((made.images, read), (hashes, hashes_of)):
        with file.open("wb") as opened:
            np.savez(opened, np.zeros(3)) if content == "archive" else opened.write(content)
        with pytest.raises(UserError, match=rf"{file.name}: cannot be read: .*; delete it and run prepare again"):
            reads(made)


def hashes_of(made: prepared_made.Made) -> np.ndarray:
    return store.read_hashes(made.images.with_name("hashes.npy"), cases=CASES.read(made.cases), table=made.cases)


@pytest.mark.parametrize("account", ["[]", "3", "[" * 100_000])
def test_features_whose_account_is_no_record_are_refused(tmp_path: Path, account: str):
    np.save(tmp_path / "features.npy", np.zeros((3, 2), np.float16))
    (tmp_path / "features.json").write_text(account)
    with pytest.raises(UserError, match=r"features\.json"):
        store.read_features(tmp_path / "features.npy")


def test_changed_hashes_are_refused(made: prepared_made.Made, tmp_path: Path):
    hashes = tmp_path / "hashes.npy"
    np.save(hashes, np.arange(12 * 7, dtype=np.uint64).reshape(12, 7))
    CASES.write(CASES.read(made.cases), made.cases, origin={"hashes": sha256(hashes)})
    table = CASES.read(made.cases)
    assert store.read_hashes(hashes, cases=table, table=made.cases)[1, 0] == 7
    np.save(hashes, np.load(hashes)[::-1])
    with pytest.raises(UserError, match=r"hashes\.npy: has changed since .*cases\.parquet was written"):
        store.read_hashes(hashes, cases=table, table=made.cases)
