"""Images are asked of a disk before they are read, so that it answers many requests at once."""

import ctypes
import mmap
import os
import time

import numpy as np
import pandas as pd
import pytest
import torch

from headwater.data import store
from headwater.data.store import Pixels, Scans, digest
from headwater.study.ct_windows import Window
from headwater.training.batches import training_batches
from headwater.training.ddp import World
from headwater.training.reading import pictures
from headwater.training.reading.ahead import depth_of, read_ahead

CPU = torch.device("cpu")


@pytest.mark.parametrize("depth", [1, 3, 50])
def test_what_comes_is_announced_once_and_no_further_ahead_than_asked(depth):
    told = []

    def make(item):
        told.append(("made", item))
        return item

    assert list(read_ahead(make, range(20), announce=lambda item: told.append(("announced", item)), depth=depth)) == [
        *range(20)
    ]
    assert [item for what, item in told if what == "announced"] == list(range(20))
    for item in range(20):
        before = [other for what, other in told[: told.index(("made", item))] if what == "announced"]
        assert max(before) == min(item + depth, 19)


def test_many_images_lie_ahead_however_small_the_batch():
    assert [depth_of(batch) for batch in (1, 64, 100, 256, 4096)] == [256, 4, 3, 1, 1]


class Announced(Pixels):
    """Pixels that remember which rows they were asked to have read."""

    def announce(self, rows):
        self.__dict__.setdefault("announced", []).append(rows.tolist())


def made(path, *, count, side=2, kind=Pixels) -> Pixels:
    """Images of noise in a file, memory-mapped."""
    np.save(path, np.random.default_rng(0).integers(0, 256, (count, 1, side, side), dtype=np.uint8))
    values = np.load(path, mmap_mode="r")
    cases = pd.DataFrame({"case": [str(number) for number in range(count)]})
    cases["pixels"] = [digest(image) for image in values]
    return kind(values, cases=cases, file=path)


@pytest.mark.parametrize(("rank", "size"), [(0, 1), (1, 2)])
def test_a_training_announces_the_images_that_its_rank_will_read(tmp_path, rank, size):
    images, rows = made(tmp_path / "images.npy", count=90, kind=Announced), np.arange(3, 73)
    world, targets = World(rank=rank, size=size, device=CPU), np.zeros((70, 1), np.float32)
    given = {"images": images, "rows": rows, "targets": targets, "batch": 20, "seed": 1, "world": world}
    read = [sorted(set(batch.cases.tolist())) for batch in training_batches(range(2, 40), **given)]
    assert images.announced == read


def test_images_that_are_scored_are_announced(tmp_path):
    pixels = made(tmp_path / "images.npy", count=30, kind=Announced)
    for images in (pixels, Scans(values=pixels, window=Window(centre=40, width=80))):
        pixels.__dict__.pop("announced", None)
        list(pictures.said(torch.nn.Flatten(), images, rows=np.arange(5, 28), batch=10, device=CPU))
        assert pixels.announced == [[*range(5, 15)], [*range(15, 25)], [*range(25, 28)]]


def resident(path) -> np.ndarray:
    """Which pages of a file are in memory."""
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        held = mmap.mmap(file.fileno(), length, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_PRIVATE)
    pages = (ctypes.c_ubyte * -(-length // mmap.PAGESIZE))()
    address = ctypes.addressof(ctypes.c_char.from_buffer(held))
    assert ctypes.CDLL(None, use_errno=True).mincore(ctypes.c_void_p(address), ctypes.c_size_t(length), pages) == 0
    return np.frombuffer(pages, np.uint8) & 1 == 1


def drop(path) -> None:
    """Drop a file from memory, or skip the test where that cannot be."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident(path).any():
        pytest.skip("this file system keeps its pages in memory")


def test_what_is_announced_comes_into_memory_and_the_rest_does_not(tmp_path):
    path, side = tmp_path / "images.npy", 500
    images, size = made(path, count=120, side=side), side * side
    del images._values, images._array
    drop(path)
    images._values = np.load(path, mmap_mode="r")
    images._array = np.asarray(images._values)
    rows = np.r_[70:82, 85, 115]
    assert size > store.ASKED
    images.announce(rows)
    edges = 128 + size * np.stack([rows, rows + 1])
    pages = np.zeros(len(resident(path)), bool)
    for first, last in edges.T:
        pages[first // mmap.PAGESIZE : -(-last // mmap.PAGESIZE)] = True
    deadline = time.monotonic() + 20
    while not (held := resident(path))[pages].all() and time.monotonic() < deadline:
        time.sleep(0.01)
    # the head was read to map the file, and as much as the disk reads ahead of that
    assert held[pages].all()
    assert not held[size * 87 // mmap.PAGESIZE : size * 114 // mmap.PAGESIZE].any()


def test_what_cannot_be_announced_is_read_when_it_is_needed(tmp_path):
    path = tmp_path / "images.npy"
    images = made(path, count=4)
    before = images[np.arange(4)].copy()
    path.unlink()
    images.announce(np.arange(4))
    assert np.array_equal(images[np.arange(4)], before)
