"""Refuses a PNG or TIFF with fewer bytes than its pixels need, or whose data fail their checksum; Pillow reads both.

PNG: ISO/IEC 15948, 5.3 (chunks), 10.1 (one zlib stream in all IDAT chunks). TIFF 6.0: 8 (strips), 22 (JPEG) and
Technical Note 2.
"""

import math
import struct
import zlib

from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from headwater.data.io import jpeg_scans, png_rows
from headwater.data.io.limits import MOST_BYTES

SIGNATURE = 8
"""Bytes before the first chunk of a PNG."""

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = 256, 257, 258, 259, 262, 277
"""Tags of a TIFF's header."""

PARTS = ((273, 279), (324, 325))
"""Tags of the places and the lengths of a TIFF's strips, and of its tiles."""

JPEG_TABLES = 347
"""Tag of the tables that all strips or tiles share, as a JPEG without a scan."""

UNCOMPRESSED, JPEG, DEFLATE = 1, 7, (8, 32946)
SUBSAMPLED = 6
"""The photometric interpretation YCbCr, in which pixels share values."""

START, END = b"\xff\xd8", b"\xff\xd9"


def guard_png(picture: PngImageFile, stream: bytes) -> None:
    """Refuse a PNG of damaged data, and have its decoding end in ValueError if they are fewer than the rows need."""
    data, by_pillow = _checked(stream), picture.load

    def load() -> object:
        if picture.tile:
            png_rows.decode(picture, stream, data)
        return by_pillow()

    picture.load = load
    read, held = picture.load_read, b""

    def all_but_last(count: int) -> bytes:
        """The next data. Without the last byte, of a checksum, no decoder takes the stream's end for the picture's."""
        nonlocal held
        while len(held) < 2:
            piece = read(count)
            if not piece:
                raise ValueError("its data end before its last row")
            held += piece
        given, held = held[:-1], held[-1:]
        return given

    picture.load_read = all_but_last


def _checked(stream: bytes) -> list[memoryview]:
    """What the chunks of pixels hold, up to another one; refuses a PNG in which one differs from its checksum."""
    place, content, data, before = SIGNATURE, memoryview(stream), [], b""
    while place + 8 <= len(stream):
        length, kind = struct.unpack_from(">I4s", stream, place)
        # the checksum is of the kind and the data
        end = place + 8 + length
        if kind == b"IDAT":
            if zlib.crc32(content[place + 4 : end]).to_bytes(4, "big") != stream[end : end + 4]:
                raise ValueError("its data do not fit their checksum")
            if not data or before == b"IDAT":
                data.append(content[place + 8 : end])
        place, before = end + 4, kind
    return data


def check_tiff(picture: TiffImageFile, stream: bytes) -> None:
    """Refuse a TIFF whose strips or tiles are too short, fail their checksum, or are JPEGs that are not whole."""
    tags = picture.tag_v2
    places, lengths = next(
        ((tags[place], tags[length]) for place, length in PARTS if place in tags and length in tags), ((), ())
    )
    parts = (stream[place : place + length] for place, length in zip(places, lengths, strict=True))
    needed = tags[HEIGHT] * math.ceil(tags[WIDTH] * (sum(tags[BITS]) if BITS in tags else 1) / 8)
    compression = tags.get(COMPRESSION, UNCOMPRESSED)
    if compression == UNCOMPRESSED and tags.get(PHOTOMETRIC) != SUBSAMPLED and 0 < sum(lengths) < needed:
        raise ValueError(f"its pixels need {needed} bytes, it has {sum(lengths)}")
    for part in parts if compression in DEFLATE else ():
        # libtiff stops at the last pixel, before the checksum; a tile may reach beyond the picture
        inflater = zlib.decompressobj()
        inflater.decompress(part, MOST_BYTES)
        if not inflater.eof:
            raise ValueError("a strip or tile is cut off")
    for part in parts if compression == JPEG else ():
        # tables and scan make one JPEG without the end of the first and the start of the second
        jpeg_scans.check(tags.get(JPEG_TABLES, START).removesuffix(END) + part.removeprefix(START))
