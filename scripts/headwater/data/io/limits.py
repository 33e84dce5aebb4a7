"""Limits on the size of files and images, so that no header can claim more memory than there is."""

import os
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from headwater.core.errors import UserError
from headwater.core.guarded_process import Limits
from headwater.data.io.folders import refuse_special

MOST_BYTES = 2**30
"""Largest file in bytes, and largest content of a compressed one."""

MOST_PIXELS = 2**26
"""Most pixels of a frame; the largest detectors have a third of it."""

MOST_VOXELS = 2**28
"""Most pixels of all frames or slices together: 1 GiB as float32, five times a thin-slice CT of the trunk."""

MOST_FRAMES = 2**16
"""Most frames of a file."""

PIECE = 2**22
"""Bytes read at a time, so that no memory is allocated for bytes that a header claims and the file lacks."""

DECODER_SECONDS = 8
"""CPU seconds that the decoder of one compressed file may take, besides one for each `DECODER_PACE` bytes of it."""

DECODER_PACE = 2**20
"""Compressed bytes that the slowest decoder does in a second on a slow machine, with room to spare."""

DECODER_MEMORY = 3 * 2**29
"""Bytes that the decoder of one file may take besides what the process holds before."""


def of_decoder(path: Path) -> Limits:
    """What the decoder of a compressed file may take."""
    return Limits(seconds=DECODER_SECONDS + path.stat().st_size // DECODER_PACE, memory=DECODER_MEMORY)


def whole_file(path: Path) -> bytes:
    """The content of a file; refused if it is too large, or no file."""
    with readable(path) as file:
        return file.read()


class Readable(BufferedReader):
    """An open file that allocates no more memory for a read than it has bytes left, whatever a header claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes, at most so many."""
        if size is not None and size > PIECE:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def readable(path: Path) -> Readable:
    """An open file; refused if it is too large, or no file."""
    refuse_special(path)
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"is larger than {MOST_BYTES >> 20} MiB", file=path, remedy="split it", nameless="is too large")
    return Readable(path.open("rb", buffering=0))


def exactly(stream: BinaryIO, count: int) -> bytearray:
    """The next `count` bytes of a stream, which may be decompressed while reading; EOFError if it has fewer."""
    content = bytearray()
    while len(content) < count:
        piece = stream.read(min(PIECE, count - len(content)))
        if not piece:
            raise EOFError(f"is cut off: {count} bytes are needed, it has {len(content)}")
        content += piece
    return content


def refuse_size(shape: tuple[int, int, int], *, samples: int, file: Path) -> None:
    """Refuse a stated (frames, rows, columns), with `samples` values per pixel, that is empty or absurdly large."""
    frames, rows, columns = shape
    claims = f"claims {frames} x {rows} x {columns} pixels" if frames != 1 else f"claims {rows} x {columns} pixels"
    if min(shape) < 1:
        raise UserError(claims, file=file, remedy="fetch it again", nameless="claims to have no pixels")
    if rows * columns > MOST_PIXELS or frames > MOST_FRAMES or frames * rows * columns * samples > MOST_VOXELS:
        remedy = "no image is that large; fetch it again"
        raise UserError(claims, file=file, remedy=remedy, nameless="claims an impossible size")
