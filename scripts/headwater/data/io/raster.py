"""Reads PNG, JPEG and TIFF pictures as eight-bit grey or colour values."""

import struct
import textwrap
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from headwater.core.errors import UserError

BROKEN = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, OverflowError, MemoryError)
"""What Pillow raises on files that are cut off, damaged or not pictures."""


def read_picture(path: Path, *, formats: Sequence[str] = ("PNG", "JPEG")) -> np.ndarray:
    """The picture in a PNG, JPEG or TIFF file: uint8 (height, width), or (height, width, 3) if it has colours.

    Grey of 16 bits is scaled so that 65535 becomes 255; transparency is dropped; a picture with three equal channels
    is grey. Refuses a file that is absent, damaged, cut off, of several pages, of 32-bit or floating-point values, or
    larger than Pillow's limit against decompression bombs.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats) as picture:
                return _eight_bits(picture)
    except FileNotFoundError:
        remedy = "fetch it, or take it off the list"
        raise UserError("is not there", file=path, remedy=remedy, nameless="is not there") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        too_large = "is too large"
        raise UserError(f"{too_large}: {error}", file=path, nameless=too_large) from None
    except (*BROKEN, struct.error, zlib.error) as error:
        reason = textwrap.shorten(str(error).replace(str(path), "file"), 160)
        broken = f"is no whole {' or '.join(formats)}"
        raise UserError(f"{broken}: {reason}", file=path, remedy="fetch it again", nameless=broken) from None


def pictures_below(folder: Path, *, pattern: str, remedy: str) -> dict[str, str]:
    """The path of each picture below the folder, by its file name; refused if there is none."""
    pictures = {file.name: str(file.relative_to(folder)) for file in sorted(folder.glob(pattern))}
    if not pictures:
        raise UserError("has no images", file=folder, remedy=remedy, nameless="has no images")
    return pictures


def _eight_bits(picture: Image.Image) -> np.ndarray:
    """The pixels of an open picture of any mode, as 8-bit grey or colour."""
    if picture.format == "TIFF" and (picture.mode in ("F", "I") or picture.n_frames > 1):
        raise ValueError(f"{picture.n_frames} pages of mode {picture.mode}, not one of 8 or 16 bits")
    # Pillow would clip 16 bits to 8 instead of scaling them; its mode is I;16, before version 11 also I
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.uint32)
        # half of the divisor is added, so that the division rounds to the nearest value
        return ((values * 255 + 32767) // 65535).astype(np.uint8)
    if picture.mode in ("1", "L", "LA", "La"):
        return np.array(picture.convert("LA").getchannel("L"))
    return grey_if_equal(np.array(picture.convert("RGB")))


def grey_if_equal(pixels: np.ndarray) -> np.ndarray:
    """One channel (height, width) of a (height, width, 3) picture if all three are the same, else the picture."""
    red = pixels[..., :1]
    return pixels[..., 0].copy() if (pixels[..., 1:] == red).all() else pixels
