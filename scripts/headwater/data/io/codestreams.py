"""Reads the size that a compressed picture states, so that it can be checked before a decoder allocates memory.

JPEG and JPEG-LS: ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2; JPEG 2000: 15444-1 A.5.1.
"""

import struct

JPEG = b"\xff\xd8"
JPEG_2000 = b"\xff\x4f\xff\x51"
JPEG_2000_BOX = b"\x00\x00\x00\x0cjP  "
END = b"\xff\xd9"
"""End marker of JPEG (EOI) and JPEG 2000 (EOC); compressed data cannot contain it."""

SIZES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers of JPEG and JPEG-LS, which are followed by the size; C4, C8 and CC mean something else."""

ALONE = {0x01, *range(0xD0, 0xD9)}
"""JPEG markers without a length field."""


def size_of(stream: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a compressed picture states; None if it states none or is neither JPEG nor JPEG 2000."""
    if stream.startswith(JPEG_2000_BOX):
        # a .jp2 file: the codestream lies within one of its boxes
        stream = stream[max(0, stream.find(JPEG_2000)) :]
    try:
        if stream.startswith(JPEG_2000):
            # Xsiz, Ysiz, XOsiz, YOsiz: the extent of the reference grid and where the image begins on it
            right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
            return bottom - top, right - left
        return _jpeg_size(stream) if stream.startswith(JPEG) else None
    except struct.error:
        return None


def is_whole(stream: bytes) -> bool:
    """Whether a compressed picture has its end marker; True for formats without one, such as RLE."""
    return END in stream or not stream.startswith((JPEG, JPEG_2000, JPEG_2000_BOX))


def _jpeg_size(stream: bytes) -> tuple[int, int] | None:
    """(rows, columns) from the first start-of-frame marker."""
    place = 2
    while place + 4 <= len(stream):
        if stream[place] != 0xFF:
            return None
        marker = stream[place + 1]
        if marker in SIZES:
            rows, columns = struct.unpack_from(">2H", stream, place + 5)
            # JPEG allows 0 rows, to be stated after the first scan
            return (rows, columns) if rows and columns else None
        # any number of fill bytes FF may precede a marker
        if marker == 0xFF:
            place += 1
        elif marker in ALONE:
            place += 2
        else:
            place += 2 + max(2, struct.unpack_from(">H", stream, place + 2)[0])
    return None
