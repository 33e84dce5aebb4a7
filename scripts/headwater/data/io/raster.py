"""Reads PNG, JPEG, TIFF and PGM pictures, the right way up, as eight-bit grey or colour values."""

import struct
import textwrap
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from headwater.core.errors import UserError, stop_if_disk
from headwater.data.io import jpeg_scans, picture_data
from headwater.data.io.folders import refuse_special
from headwater.data.io.limits import MOST_BYTES
from headwater.data.io.windows import is_blank

BROKEN = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, MemoryError),
    *(AssertionError, struct.error, zlib.error),
)
"""What Pillow raises on files that are cut off, damaged or not pictures."""

USUAL = ("PNG", "JPEG")

FORMATS = dict.fromkeys((".png", ".jpg", ".jpeg"), USUAL) | dict.fromkeys((".tif", ".tiff"), ("TIFF",))
FORMATS[".pgm"] = ("PPM",)
"""The formats that a picture may have, by its suffix: JPEG files named .png are common."""

GUARDS = {
    "JPEG": jpeg_scans.load,
    "MPO": jpeg_scans.load,
    "PNG": picture_data.guard_png,
    "TIFF": picture_data.check_tiff,
}
"""What refuses a damaged picture that Pillow reads, by its format; MPO is a JPEG that others follow in its file."""

BITS = (8, 10, 12, 14, 16)
"""Bits that detectors and exports use, lowest first."""

WIDTH, HEIGHT, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
"""Tags of a TIFF's header (TIFF 6.0, 8)."""

WHITE_IS_ZERO = 0
"""The value of PHOTOMETRIC that says that low values are bright; Pillow applies it to 8 bits but not to 16."""

MASKS = ("PNG", "TIFF")
"""The formats of masks: others change numbers, or stretch them to the highest one."""

LOSSY = (6, 7, 34712, 34887, 50001, 50002)
"""The values of COMPRESSION that may change numbers: JPEG, old and new, JPEG 2000, LERC, WebP and JPEG XL."""

NEARLY_BLACK = 8
"""The highest red, green and blue of a colour that people take for the background."""

TURNS = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
"""What turns a picture upright, by its orientation in the header (EXIF 2.3, 4.6.4 A; 1 is upright)."""

FIRST_ON_ITS_SIDE = 5
"""The orientations from this one on swap height and width."""


def read_picture(
    path: Path, *, formats: Sequence[str] = USUAL, bits: int | Literal["guessed"] = "guessed"
) -> np.ndarray:
    """The picture in a PNG, JPEG, TIFF or PGM file: uint8 (height, width), or (height, width, 3) if it has colours.

    It is turned upright by its orientation tag. Of grey in 16 bits, the highest value of `bits` becomes 255, by default
    that of the fewest of BITS which hold all values of the picture. Transparency is dropped; a picture with three equal
    channels is grey. Refuses a file that is absent, damaged, cut off, of several pages, of 32-bit or floating-point
    values, with its picture in the transparency alone, or larger than Pillow's limit against decompression bombs.
    """
    with _opened(path, formats) as picture:
        if picture.mode.startswith("I"):
            return _turned(_scaled(picture, path, bits=bits), picture)
        return _turned(_eight_bits(picture, path, bits=bits), picture)


class Frame(NamedTuple):
    """The sides of a picture as its file stores it, and how its header turns it."""

    stored: tuple[int, int]
    """height and width in pixels"""
    orientation: int
    """by which it is turned upright, as in `TURNS`; 1 for a picture that is stored upright"""

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width of the picture as `read_picture` gives it."""
        return self.stored[::-1] if self.orientation >= FIRST_ON_ITS_SIDE else self.stored


def frame_of(path: Path, *, formats: Sequence[str] = USUAL) -> Frame:
    """The frame of a picture, without its values."""
    with _opened(path, formats) as picture:
        turned = _orientation(picture)
        # Pillow gives the sides of a TIFF as they are once it is turned
        tagged = _tag(picture, HEIGHT), _tag(picture, WIDTH)
        return Frame(tagged if picture.format == "TIFF" else picture.size[::-1], turned if turned in TURNS else 1)


def read_labels(path: Path) -> np.ndarray:
    """The whole numbers in a PNG or TIFF file of one channel, turned upright by its own tag: int32 (height, width).

    Of a palette they are its indices. Refuses what changes numbers or hides them: a JPEG, whatever it is called,
    16 bits in several channels, a palette in whose order black is not the background, colours, and transparency.
    """
    with _opened(path, (*USUAL, *MASKS)) as picture:
        # known before the pixels are decoded
        stored = " ".join(str(tile[3]) for tile in picture.tile)
        if reason := _misread(picture, stored):
            what, remedy = reason
            raise UserError(what, file=path, remedy=remedy, nameless=what)
        is_plain = picture.mode in ("1", "L", "P") or picture.mode.startswith("I")
        values = np.asarray(picture) if is_plain else grey_if_equal(np.array(picture.convert("RGB")))
        if values.ndim == 3:
            what = "is a mask in colour"
            raise UserError(what, file=path, remedy="save the numbers of its structures as grey", nameless=what)
        return _turned(values.astype(np.int32) // _stretch(picture, stored), picture)


def _misread(picture: Image.Image, stored: str) -> tuple[str, str] | None:
    """(what is wrong, remedy) of a mask whose numbers Pillow does not give as they are meant."""
    if picture.format not in MASKS:
        return f"is a {picture.format}, which changes numbers", "save it as PNG"
    if _tag(picture, COMPRESSION) in LOSSY:
        return "is a TIFF with compression that changes numbers", "save it as PNG"
    if _tag(picture, PHOTOMETRIC) == WHITE_IS_ZERO:
        return "holds low values for bright ones, so that its numbers are not what is seen", "save it as PNG"
    if ";16" in stored and not picture.mode.startswith("I"):
        return "is a mask of 16 bits in several channels", "save it as grey of one channel"
    if "A" in picture.getbands() and picture.getchannel("A").getextrema() != (255, 255):
        return "is a mask with transparency", "save it as grey without transparency"
    if picture.mode == "P" and _is_shuffled(picture):
        what = "has a palette in whose order black is not the background, or greys do not rise with their numbers"
        return what, "save the numbers of its structures as grey"
    return None


def _is_shuffled(picture: Image.Image) -> bool:
    """Whether a palette's colours contradict its indices, as programs leave it that reduce a picture's colours."""
    colours = np.array(picture.getpalette("RGB"), np.int32).reshape(-1, 3)
    used = np.unique(np.asarray(picture))
    colours = colours[used[used < len(colours)]]
    if (colours == colours[:, :1]).all():
        return bool((np.diff(colours[:, 0]) <= 0).any() or (used[0] == 0 and colours[0, 0] > NEARLY_BLACK))
    return bool(((colours <= NEARLY_BLACK).all(axis=1) & (used[: len(colours)] > 0)).any())


def _stretch(picture: Image.Image, stored: str) -> int:
    """By what Pillow multiplies the values of grey in two or four bits, so that the highest becomes white."""
    bits = next((bits for bits in (2, 4) if f"L;{bits}" in stored), 8)
    return 255 // (2**bits - 1) if picture.mode == "L" else 1


def bits_of(path: Path, *, formats: Sequence[str] = USUAL) -> int:
    """How many bits the values of a grey picture in 16 bits fill, as `read_picture` guesses; 0 for other pictures."""
    with _opened(path, formats) as picture:
        return _bits(picture) if picture.mode.startswith("I") else 0


@contextmanager
def _opened(path: Path, formats: Sequence[str]) -> Iterator[Image.Image]:
    """An open picture; turns whatever Pillow raises on a broken one into a UserError that names the file."""
    refuse_special(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # from a stream and not by name: Pillow maps a named TIFF into memory, and then scrambles a turned one
            with path.open("rb") as file, Image.open(file, formats=formats) as picture:
                _refuse_form(picture, path)
                if picture.format in GUARDS:
                    GUARDS[picture.format](picture, _content(file))
                yield picture
    except FileNotFoundError:
        remedy = "fetch it, or take it off the list"
        raise UserError("is not there", file=path, remedy=remedy, nameless="is not there") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        too_large = "is too large"
        raise UserError(f"{too_large}: {error}", file=path, nameless=too_large) from None
    except BROKEN as error:
        stop_if_disk(error, file=path)
        reason = textwrap.shorten(str(error).replace(str(path), "file"), 160)
        broken = f"is no whole {' or '.join(formats)}"
        raise UserError(f"{broken}: {reason}", file=path, remedy="fetch it again", nameless=broken) from None


def _content(file: BinaryIO) -> bytes:
    """All bytes of an open file, which stays where it is read."""
    place = file.tell()
    file.seek(0)
    content = file.read(MOST_BYTES)
    file.seek(place)
    return content


def _refuse_form(picture: Image.Image, path: Path) -> None:
    """Refuse a TIFF of several pages, or values that no grey level follows from."""
    if picture.format == "PPM" and picture.mode == "F":
        what = "is a PFM, which holds floating-point values, not a PGM"
        raise UserError(what, file=path, remedy="save it as grey with 8 or 16 bits", nameless=what)
    if picture.format == "TIFF" and (picture.mode in ("F", "I") or picture.n_frames > 1):
        what = f"is a TIFF of {picture.n_frames} pages of mode {picture.mode}, not one of 8 or 16 bits"
        raise UserError(what, file=path, remedy="save one page of it with 8 or 16 bits", nameless=what)


def _turned(pixels: np.ndarray, picture: Image.Image) -> np.ndarray:
    """Pixels as they are stored turned upright."""
    # Pillow turns TIFF by itself while it decodes
    orientation = 1 if picture.format == "TIFF" else _orientation(picture)
    return np.ascontiguousarray(TURNS[orientation](pixels)) if orientation in TURNS else pixels


def _orientation(picture: Image.Image) -> int:
    """The orientation that the header of a picture states; 1 where it states none or cannot be understood."""
    try:
        return picture.getexif().get(ExifTags.Base.Orientation, 1)
    except BROKEN:
        return 1


def _scaled(picture: Image.Image, path: Path, *, bits: int | Literal["guessed"]) -> np.ndarray:
    """The values of a grey picture in 16 bits, as 8."""
    is_inverted = _tag(picture, PHOTOMETRIC) == WHITE_IS_ZERO
    bits = _bits(picture) if bits == "guessed" else bits
    values = np.asarray(picture).astype(np.uint32)
    white = 2**bits - 1
    if values.max() > white:
        what = f"has values above {white}, which do not fit the {bits} bits that are stated"
        remedy = "state more bits, or leave them to be guessed"
        raise UserError(what, file=path, remedy=remedy, nameless=what)
    if is_inverted:
        values = white - values
    # half of the divisor is added, so that the division rounds to the nearest value
    return ((values * 255 + white // 2) // white).astype(np.uint8)


def _bits(picture: Image.Image) -> int:
    """The bits that a TIFF states if they are fewer than 16, else the fewest of BITS that hold all values."""
    stated = _tag(picture, BITS_PER_SAMPLE)
    if stated and stated[0] < 16:
        return stated[0]
    # a PGM states its highest value, which Pillow makes that of 16 bits unless it is that already
    if any(tile[0] == "ppm" for tile in picture.tile):
        return 16
    highest = np.asarray(picture).max()
    return next(bits for bits in BITS if highest < 2**bits)


def _tag(picture: Image.Image, number: int) -> int | tuple[int, ...] | None:
    """An element of a TIFF's header; None for other formats."""
    return picture.tag_v2.get(number) if picture.format == "TIFF" else None


def _eight_bits(picture: Image.Image, path: Path, *, bits: int | Literal["guessed"]) -> np.ndarray:
    """The pixels of an open picture of any mode but 16-bit grey, as 8-bit grey or colour."""
    # known before the pixels are decoded: of colours in 16 bits Pillow keeps the upper 8
    is_wide = any(";16" in str(tile[3]) for tile in picture.tile)
    if picture.mode == "L" and "transparency" not in picture.info:
        pixels = np.asarray(picture)
    elif picture.mode in ("1", "L", "LA", "La"):
        pixels = np.array(picture.convert("LA").getchannel("L"))
    else:
        pixels = grey_if_equal(np.array(picture.convert("RGB")))
    if is_wide and bits != 16 and pixels.max() < 2 ** (BITS[-2] - 8):
        what = f"is in 16-bit colour but its values fit {BITS[-2]} bits"
        raise UserError(what, file=path, remedy="save it as 16-bit grey, or with 8 bits", nameless=what)
    if is_blank(pixels) and not is_blank(np.asarray(picture.convert("RGBA").getchannel("A"))):
        what = "holds its picture in the transparency alone"
        raise UserError(what, file=path, remedy="save it as grey without transparency", nameless=what)
    return pixels


def grey_if_equal(pixels: np.ndarray) -> np.ndarray:
    """One channel (height, width) of a (height, width, 3) picture if all three are the same, else the picture."""
    red = pixels[..., :1]
    return pixels[..., 0].copy() if (pixels[..., 1:] == red).all() else pixels
