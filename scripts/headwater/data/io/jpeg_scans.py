"""Decodes a JPEG and refuses it if a scan holds less or more data than its blocks need, about which Pillow is silent.

libjpeg paints grey what a scan lacks and skips what it has too much, with warnings that Pillow drops. It waits, though,
where it lacks a byte and no marker says that none will come. So each stretch of entropy-coded data (ISO/IEC 10918-1
B.1.1.5) is given to it up to its last bytes, when it must still wait for more, and then with padding after the last
one, when it must wait no longer.
"""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

FILL, STUFFING = 0xFF, 0x00
"""Bytes after an FF that make no marker of it: more of them may precede one, and 00 follows each FF of the data."""

START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9

OTHER_CODES = {0xC3, *range(0xC5, 0xD0)} - {0xC8, 0xCC}
"""Start-of-frame markers of the rare codings (lossless, hierarchical, arithmetic), which are not checked."""

RESTARTS = tuple(bytes([0xFF, 0xD0 + number]) for number in range(8))

ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a length field."""

PADDING = b"\xff\x00" * 8
"""Ones: the 64 bits that libjpeg reads ahead. No code consists of ones alone, so they make two blocks at most."""

PROBE = b"\x00"
"""What libjpeg skips at once when a stretch is over, but keeps until it has eight bytes when one is not."""

MOST_CHECKED = 256
"""Stretches of a picture that are checked, evenly spread; few have more, by a restart after each few blocks."""

MOST_FILL = 512
"""Zeros after a picture that count as no damage: some devices fill a block of the disk with them."""

LESS = "a scan has less data than its blocks need"
MORE = "a scan has more data than its blocks need"


class Excess(ValueError):
    """A scan has more data than its blocks need."""


class Stretch(NamedTuple):
    """Entropy-coded data without a marker."""

    start: int
    end: int
    restart: int
    """restart markers of the scan before it"""
    is_last: bool
    """whether it ends its scan"""


def load(picture: ImageFile, stream: bytes) -> None:
    """Decode the pixels of an opened JPEG, whose file is `stream`; ValueError if a scan is not whole.

    Damage after which the data still decode to the right number of blocks cannot be told from a picture.
    """
    stretches = _stretches(stream)
    try:
        _load(picture, stream, stretches)
    except Excess:
        end = stretches[-1].end
        fill = end - len(stream[:end].rstrip(b"\0"))
        if not 0 < fill <= MOST_FILL:
            raise
        stream = stream[: end - fill] + stream[end:]
        _load(picture, stream, _stretches(stream))
    picture.tile = []


def check(stream: bytes) -> None:
    """ValueError if a JPEG is not whole, for those whose pixels another library decodes; those of 12 bits pass."""
    try:
        picture = Image.open(io.BytesIO(stream), formats=("JPEG",))
    except UnidentifiedImageError:
        # of a form that Pillow does not read; whether it is one at all, that library will say
        return
    with picture:
        # an eighth of its size: the same data are decoded, but most of the arithmetic is left out
        picture.draft(None, (max(1, picture.width // 8), max(1, picture.height // 8)))
        load(picture, stream)


def _load(picture: ImageFile, stream: bytes, stretches: list[Stretch]) -> None:
    """The same, with no allowance for fill."""
    feed, place, step = Feed(picture), 0, 1 + len(stretches) // MOST_CHECKED
    try:
        # backwards, so that the last one is among them
        for start, end, restart, is_last in stretches[::-1][::step][::-1]:
            # without its last byte no decoder can be done; the byte before is the probe
            last = end - 1 - (stream[end - 2 : end] == b"\xff\0")
            before = last - 1 - (stream[last - 2 : last] == b"\xff\0")
            if before >= start:
                waits = feed.keeps(stream[place:before])
                if not (feed.keeps(stream[before:last]) or waits):
                    raise Excess(MORE)
                place = last
            # between scans a restart marker means nothing; within one it opens the next stretch
            following = RESTARTS[restart % len(RESTARTS)] if is_last and restart else b""
            if feed.keeps(stream[place:end] + PADDING) or feed.keeps(PROBE) or feed.keeps(following + PROBE):
                raise ValueError(LESS)
            place = end
        feed.keeps(stream[place:])
        if not feed.is_done:
            raise ValueError("scans are missing")
    finally:
        feed.decoder.cleanup()


class Feed:
    """A decoder that is given a picture piece by piece."""

    def __init__(self, picture: ImageFile) -> None:
        tile = picture.tile[0]
        picture.load_prepare()
        self.decoder = Image._getdecoder(picture.mode, tile.codec_name, tile.args, picture.decoderconfig)
        self.decoder.setimage(picture.im, tile.extents)
        self.kept = b""
        self.is_done = False

    def keeps(self, piece: bytes) -> bool:
        """Whether the decoder, given these bytes, keeps some of what it was given until it has more."""
        if self.is_done:
            return False
        content = self.kept + piece
        count, error = self.decoder.decode(content)
        if error:
            raise ValueError("its data do not decode")
        self.is_done, self.kept = count < 0, content[max(count, 0) :]
        return bool(self.kept) and not self.is_done


def _stretches(stream: bytes) -> list[Stretch]:
    """All stretches of entropy-coded data; none of a picture in one of the rare codings."""
    stretches: list[Stretch] = []
    place, restart = 0, None
    for at in _marks(stream):
        # within a segment
        if at < place:
            continue
        marker, code = stream[at : at + 2], stream[at + 1]
        is_restart = restart is not None and marker in RESTARTS
        if restart is not None:
            end = at
            while stream[end - 1] == FILL:
                end -= 1
            stretches.append(Stretch(place, end, restart, not is_restart))
        if code == END_OF_IMAGE:
            return stretches
        place = at + 2
        if is_restart:
            if marker != RESTARTS[restart % len(RESTARTS)]:
                raise ValueError("its restart markers are out of order")
            restart += 1
            continue
        if code in OTHER_CODES:
            return []
        restart = 0 if code == START_OF_SCAN else None
        if code not in ALONE:
            place += int.from_bytes(stream[place : place + 2], "big")
    raise ValueError("it has no end marker")


def _marks(stream: bytes) -> list[int]:
    """Where there may be a marker: each FF that is followed by neither fill nor stuffing."""
    content = np.frombuffer(stream, np.uint8)
    marks = np.flatnonzero(content[:-1] == FILL)
    following = content[marks + 1]
    return marks[(following != STUFFING) & (following != FILL)].tolist()
