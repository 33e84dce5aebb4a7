"""Shelves: .npy files to which prepared images are appended while their number is not known yet."""

import math
from pathlib import Path
from typing import BinaryIO

import numpy as np

from headwater.data.store import digest
from headwater.data.unstored import Unstored
from headwater.study.archive import Archive

COLOURS = 3
"""Channels of pictures in colour."""


class Shelf:
    """A .npy file to which images of one shape and type are appended: (cases, channels, *space).

    It has one channel until the first image in colour is added.
    """

    def __init__(self, path: Path, *, space: tuple[int, ...], kind: type[np.generic] = np.uint8):
        self.path, self.space, self.kind, self.channels, self.count = path, space, np.dtype(kind), 1, 0

    def __enter__(self) -> "Shelf":
        self.file = self.path.open("wb+")
        self._write_header()
        self.start = self.file.tell()
        return self

    def __exit__(self, *_: object) -> None:
        with self.file:
            self.file.seek(0)
            self._write_header()

    def add(self, pixels: np.ndarray) -> None:
        """Append an image (channels, *space)."""
        if len(pixels) > self.channels:
            self._widen(len(pixels))
        wide = np.broadcast_to(pixels, (self.channels, *self.space))
        self.file.write(wide.astype(self.kind, casting="equiv").tobytes())
        self.count += 1

    def digests(self) -> list[str]:
        """The digests of the images, once they are all on the shelf."""
        return [digest(pixels) for pixels in np.load(self.path, mmap_mode="r")]

    def _widen(self, channels: int) -> None:
        """Repeat the one channel of all images so far, in place."""
        self.file.flush()
        narrow = math.prod(self.space) * self.kind.itemsize
        wide = channels * narrow
        # from the last to the first, or a widened image would overwrite the next one before it is read
        for row in reversed(range(self.count)):
            self.file.seek(self.start + row * narrow)
            plane = self.file.read(narrow)
            self.file.seek(self.start + row * wide)
            self.file.write(plane * channels)
        self.file.seek(self.start + self.count * wide)
        self.channels = channels

    def _write_header(self) -> None:
        _write_header(self.file, kind=self.kind, shape=(self.count, self.channels, *self.space))


class Unshelved:
    """What a shelf is to pictures that are not stored: takes each once, and writes how they are decoded again."""

    def __init__(self, path: Path, *, archive: Archive):
        self.path, self.archive, self.channels = path, archive, 1
        self._digests: list[dict[int, str]] = []

    def __enter__(self) -> "Unshelved":
        return self

    def __exit__(self, *_: object) -> None:
        with self.path.open("wb") as file:
            np.save(file, np.array(Unstored(archive=self.archive, channels=self.channels).as_json()))

    def add(self, pixels: np.ndarray) -> None:
        """Take an image (channels, *space), of which the digest is kept."""
        self.channels = max(self.channels, len(pixels))
        # whether grey pictures are given in three channels is known once all are read
        wide = {count: np.broadcast_to(pixels, (count, *pixels.shape[1:])) for count in {len(pixels), COLOURS}}
        self._digests.append({count: digest(image) for count, image in wide.items()})

    def digests(self) -> list[str]:
        """The digests of the images in the channels of the archive."""
        return [each[self.channels] for each in self._digests]


class FlatShelf:
    """A .npy file to which volumes of any sides are appended one behind the other: (voxels,)."""

    def __init__(self, path: Path, *, kind: type[np.generic]):
        self.path, self.kind, self.count = path, np.dtype(kind), 0

    def __enter__(self) -> "FlatShelf":
        self.file = self.path.open("wb+")
        _write_header(self.file, kind=self.kind, shape=(0,))
        return self

    def __exit__(self, *_: object) -> None:
        with self.file:
            self.file.seek(0)
            _write_header(self.file, kind=self.kind, shape=(self.count,))

    def add(self, voxels: np.ndarray) -> int:
        """Append a volume; gives the place of its first voxel."""
        self.file.write(np.ascontiguousarray(voxels).astype(self.kind, casting="equiv").tobytes())
        self.count += voxels.size
        return self.count - voxels.size


def _write_header(file: BinaryIO, *, kind: np.dtype, shape: tuple[int, ...]) -> None:
    """Write the header; NumPy pads it so that a larger count fits, and its length stays the same."""
    form = {"descr": kind.newbyteorder("<").str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, form)
