"""Arrays in NumPy archives: one picture of many, the same as NumPy itself reads, and a refusal for what is broken."""

import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import UserError
from headwater.data.io import arrays

KINDS = {np.savez: "stored", np.savez_compressed: "compressed"}


@pytest.fixture(params=list(KINDS), ids=list(KINDS.values()))
def file(request, tmp_path):
    drawn = np.random.default_rng(0).integers(0, 256, (40, 9, 7), dtype=np.uint8)
    request.param(
        tmp_path / "some.npz", images=drawn, colours=drawn.reshape(20, 3, 14, 3), labels=np.arange(40)[:, None]
    )
    return tmp_path / "some.npz"


@settings(deadline=None, max_examples=20)
@given(order=st.lists(st.integers(0, 39), min_size=1, max_size=12))
def test_pictures_are_those_that_numpy_reads_in_any_order(tmp_path_factory, order):
    path = tmp_path_factory.mktemp("arrays") / "some.npz"
    drawn = np.random.default_rng(0).integers(0, 256, (40, 9, 7), dtype=np.uint8)
    np.savez_compressed(path, images=drawn)
    read = [arrays.read_one(path, "images", position=position) for position in order]
    assert np.array_equal(read, np.load(path)["images"][order])


def test_shapes_and_small_arrays_are_read(file):
    assert arrays.shape_of(file, "images") == ((40, 9, 7), np.uint8)
    assert np.array_equal(arrays.read_whole(file, "labels"), np.load(file)["labels"])
    assert np.array_equal(arrays.read_one(file, "colours", position=7), np.load(file)["colours"][7])


def test_what_is_unpacked_once_is_not_unpacked_again(file, monkeypatch):
    whole = arrays._opened(file, "images", (file.stat().st_mtime_ns, file.stat().st_size))
    read, first = [], whole.stream.read
    monkeypatch.setattr(whole.stream, "read", lambda count=-1: read.append(count) or first(count))
    for position in range(40):
        arrays.read_one(file, "images", position=position)
    assert sum(read) == 40 * 9 * 7


def test_a_file_that_changed_is_read_anew(tmp_path):
    for value in (1, 2):
        np.savez(tmp_path / "some.npz", images=np.full((value, 3, 3), value, np.uint8))
        assert (arrays.read_one(tmp_path / "some.npz", "images", position=0) == value).all()


@pytest.mark.parametrize(
    ("member", "position", "said"),
    [
        ("other", 0, "holds no array 'other'"),
        ("images", 40, "it has 40 entries, number 40 is not among them"),
        ("images", -1, "number -1 is not among them"),
    ],
)
def test_what_is_not_in_it_is_refused(file, member, position, said):
    with pytest.raises(UserError, match=said):
        arrays.read_one(file, member, position=position)


def test_broken_archives_are_refused(file, tmp_path):
    whole = file.read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "none.npz").write_text("no archive")
    np.savez(tmp_path / "objects.npz", images=np.array([{"a": 1}, None], object))
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive, zipfile.ZipFile(file) as first:
        archive.writestr("images.npy", first.read("images.npy")[:-1])
    damaged = bytearray(whole)
    at = whole.index(b"images.npy") + 200
    damaged[at : at + 64] = bytes(64)
    (tmp_path / "damaged.npz").write_bytes(damaged)
    for name in ("cut", "none", "objects", "short", "damaged"):
        with pytest.raises(UserError, match=f"{name}.npz: array 'images' cannot be read"):
            for position in range(40):
                arrays.read_one(tmp_path / f"{name}.npz", "images", position=position)
    with pytest.raises(UserError, match="is not there"):
        arrays.shape_of(tmp_path / "absent.npz", "images")
