"""Pictures as people have them, byte by byte where no library writes them: odd TIFF headers and colours in 16 bits."""

import struct
import zlib
from pathlib import Path

import numpy as np

SHORT, LONG = 3, 4


def write_tiff(path: Path, strip: bytes, *, shape: tuple[int, int], bits: int, order: str = "<", **tags: int) -> Path:
    """An uncompressed grey TIFF of one strip; `tags` are photometric (1: black is zero) and orientation."""
    height, width = shape
    told = {"photometric": 1, "orientation": 1, **tags}
    entries = [
        (256, LONG, width),
        (257, LONG, height),
        (258, SHORT, bits),
        (259, SHORT, 1),
        (262, SHORT, told["photometric"]),
        (273, LONG, 8),
        (274, SHORT, told["orientation"]),
        (277, SHORT, 1),
        (278, LONG, height),
        (279, LONG, len(strip)),
    ]
    strip += bytes(len(strip) % 2)
    magic = b"II" if order == "<" else b"MM"
    content = magic + struct.pack(f"{order}HI", 42, 8 + len(strip)) + strip + struct.pack(f"{order}H", len(entries))
    for tag, kind, value in entries:
        # a short value lies in the first two of four bytes
        place = struct.pack(f"{order}HH", value, 0) if kind == SHORT else struct.pack(f"{order}I", value)
        content += struct.pack(f"{order}HHI", tag, kind, 1) + place
    path.write_bytes(content + bytes(4))
    return path


def packed_12_bits(values: np.ndarray) -> bytes:
    """Values of 12 bits, two in three bytes, as TIFF packs them; an even number of values per row."""
    first, second = values.reshape(-1, 2).T.astype(np.uint16)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    return packed.astype(np.uint8).tobytes()


def write_wide_png(path: Path, values: np.ndarray) -> Path:
    """A PNG in colour with 16 bits per channel: (height, width, 3), or with transparency (height, width, 4)."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, *zip(*chunks, strict=True))))
    return path


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
