"""Reads NumPy archives (.npz), which keep many pictures in one array, a picture at a time."""

import math
import struct
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from headwater.core.errors import UserError

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""Who reads the beginning of an array, by the version that it names."""

BROKEN = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)
"""What Python and NumPy raise on archives that are cut off, damaged, locked or none at all."""

OPEN = 6
"""Arrays that are kept open, so that reading goes on where it was: an archive has one per split, or two."""


class Stack:
    """An array of an archive, read forward: what lies before a picture is unpacked once, and never kept."""

    def __init__(self, path: Path, member: str):
        self.file = zipfile.ZipFile(path)
        self.stream = self.file.open(f"{member}.npy")
        version = np.lib.format.read_magic(self.stream)
        if version not in HEADERS:
            raise ValueError(f"is of version {version}")
        self.shape, by_columns, self.dtype = HEADERS[version](self.stream)
        self.start = self.stream.tell()
        if self.dtype.hasobject or by_columns or not self.shape:
            raise ValueError(f"is no plain array ({self.dtype}, {self.shape})")
        length = self.start + math.prod(self.shape) * self.dtype.itemsize
        if self.file.getinfo(f"{member}.npy").file_size != length:
            raise ValueError(f"is not as long as its header says ({length} bytes)")

    def read(self, first: int, count: int) -> np.ndarray:
        """So many entries from the first on (count, ...)."""
        shape = (count, *self.shape[1:])
        each = math.prod(self.shape[1:]) * self.dtype.itemsize
        self.stream.seek(self.start + first * each)
        content = self.stream.read(count * each)
        if len(content) < count * each:
            raise EOFError("it ends early")
        return np.frombuffer(content, self.dtype).reshape(shape)


def shape_of(path: Path, member: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and kind of an array, by its header alone."""
    stack = _of(path, member, first=0, count=0)[0]
    return stack.shape, stack.dtype


def read_whole(path: Path, member: str) -> np.ndarray:
    """A small array, such as labels."""
    return _of(path, member, first=0, count=None)[1]


def read_one(path: Path, member: str, *, position: int) -> np.ndarray:
    """One picture of an array; read in their order, pictures cost one pass over the archive."""
    return _of(path, member, first=position, count=1)[1][0]


def _of(path: Path, member: str, *, first: int, count: int | None) -> tuple[Stack, np.ndarray]:
    """An array and some of its entries, all of them for None; refuses what cannot be read."""
    try:
        seen = path.stat()
        # a file that was changed is another one
        stack = _opened(path, member, (seen.st_mtime_ns, seen.st_size))
        count = stack.shape[0] if count is None else count
        if not 0 <= first <= first + count <= stack.shape[0]:
            raise ValueError(f"it has {stack.shape[0]} entries, none with number {first}")
        return stack, stack.read(first, count)
    except FileNotFoundError:
        remedy = "give the folder as the archive lays it out"
        raise UserError("is not there", file=path, remedy=remedy, nameless="is not there") from None
    except KeyError:
        what = f"holds no array {member!r}"
        raise UserError(what, file=path, remedy="fetch the archive again", nameless=what) from None
    except BROKEN as error:
        broken = f"array {member!r} cannot be read"
        raise UserError(f"{broken}: {error}", file=path, remedy="fetch it again", nameless=broken) from None


@lru_cache(maxsize=OPEN)
def _opened(path: Path, member: str, seen: tuple[int, int]) -> Stack:
    """An array that is open already, or is now."""
    return Stack(path, member)
