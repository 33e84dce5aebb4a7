"""Reads how large a compressed picture says that it is, before any decoder believes it.

JPEG and JPEG-LS: ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2; JPEG 2000: 15444-1 A.5.1.
"""

import struct

JPEG = b"\xff\xd8"
JPEG_2000 = b"\xff\x4f\xff\x51"
JPEG_2000_BOX = b"\x00\x00\x00\x0cjP  "
END = b"\xff\xd9"
"""The last marker of a JPEG and of a JPEG 2000 picture; nothing that is packed may look like it."""

SIZES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG and JPEG-LS behind which the size stands."""

ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers of JPEG that no length follows."""


def size_of(stream: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a compressed picture claims; None where it does not say, or is of no such kind."""
    if stream.startswith(JPEG_2000_BOX):
        stream = stream[max(0, stream.find(JPEG_2000)) :]
    try:
        if stream.startswith(JPEG_2000):
            right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
            return bottom - top, right - left
        return _of_jpeg(stream) if stream.startswith(JPEG) else None
    except struct.error:
        return None


def is_whole(stream: bytes) -> bool:
    """Whether a compressed picture ends as its kind has to; True for kinds without an end."""
    return END in stream or not stream.startswith((JPEG, JPEG_2000, JPEG_2000_BOX))


def _of_jpeg(stream: bytes) -> tuple[int, int] | None:
    """(rows, columns) from the first marker that says them."""
    place = 2
    while place + 4 <= len(stream):
        if stream[place] != 0xFF:
            return None
        marker = stream[place + 1]
        if marker in SIZES:
            rows, columns = struct.unpack_from(">2H", stream, place + 5)
            return (rows, columns) if rows and columns else None
        # a marker may be led by any number of filling bytes
        if marker == 0xFF:
            place += 1
        elif marker in ALONE:
            place += 2
        else:
            place += 2 + max(2, struct.unpack_from(">H", stream, place + 2)[0])
    return None
