"""Reads single pictures from NumPy archives (.npz), which hold many pictures in one array."""

import math
import struct
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from headwater.core.errors import UserError, stop_if_disk
from headwater.data.io.folders import refuse_special

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""NumPy's readers of an array header, by the version of the format."""

BROKEN = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)
"""What Python and NumPy raise on files that are cut off, damaged, encrypted or not archives."""

OPEN = 6
"""Most arrays kept open, so that reading continues where it stopped; an archive has one or two per split."""


class Stack:
    """An array of an archive that is read forwards, so that each picture is decompressed once and none is kept."""

    def __init__(self, path: Path, member: str):
        refuse_special(path)
        self.file = zipfile.ZipFile(path)
        self.stream = self.file.open(f"{member}.npy")
        version = np.lib.format.read_magic(self.stream)
        if version not in HEADERS:
            raise ValueError(f"has format version {version}")
        self.shape, is_fortran, self.dtype = HEADERS[version](self.stream)
        self.start = self.stream.tell()
        # objects would be unpickled, which can run code; with columns first no picture is in one piece
        if self.dtype.hasobject or is_fortran or not self.shape:
            raise ValueError(f"is not a plain array ({self.dtype}, {self.shape})")
        # compared with the size in the zip directory, before memory for the array is allocated
        length = self.start + math.prod(self.shape) * self.dtype.itemsize
        if self.file.getinfo(f"{member}.npy").file_size != length:
            raise ValueError(f"is not as long as its header states ({length} bytes)")

    def read(self, first: int, count: int) -> np.ndarray:
        """`count` entries from number `first` on: (count, ...)."""
        shape = (count, *self.shape[1:])
        each = math.prod(self.shape[1:]) * self.dtype.itemsize
        self.stream.seek(self.start + first * each)
        content = self.stream.read(count * each)
        if len(content) < count * each:
            raise EOFError("it ends early")
        return np.frombuffer(content, self.dtype).reshape(shape)


def shape_of(path: Path, member: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of an array, from its header alone."""
    stack = _read(path, member, first=0, count=0)[0]
    return stack.shape, stack.dtype


def read_whole(path: Path, member: str) -> np.ndarray:
    """A small array, such as labels."""
    return _read(path, member, first=0, count=None)[1]


def read_one(path: Path, member: str, *, position: int) -> np.ndarray:
    """One picture of an array; reading all pictures in order takes one pass over the archive."""
    return _read(path, member, first=position, count=1)[1][0]


def _read(path: Path, member: str, *, first: int, count: int | None) -> tuple[Stack, np.ndarray]:
    """An array and `count` of its entries, all for None; refuses what cannot be read."""
    try:
        status = path.stat()
        # time and size are part of the key, so that a file that has changed is opened again
        stack = _opened(path, member, (status.st_mtime_ns, status.st_size))
        count = stack.shape[0] if count is None else count
        if not 0 <= first <= first + count <= stack.shape[0]:
            raise ValueError(f"it has {stack.shape[0]} entries, number {first} is not among them")
        return stack, stack.read(first, count)
    except FileNotFoundError:
        remedy = "give the folder as the archive lays it out"
        raise UserError("is not there", file=path, remedy=remedy, nameless="is not there") from None
    except KeyError:
        what = f"holds no array {member!r}"
        raise UserError(what, file=path, remedy="fetch the archive again", nameless=what) from None
    except BROKEN as error:
        stop_if_disk(error, file=path)
        broken = f"array {member!r} cannot be read"
        raise UserError(f"{broken}: {error}", file=path, remedy="fetch it again", nameless=broken) from None


@lru_cache(maxsize=OPEN)
def _opened(path: Path, member: str, state: tuple[int, int]) -> Stack:
    """An array, opened once for each state of its file."""
    return Stack(path, member)
