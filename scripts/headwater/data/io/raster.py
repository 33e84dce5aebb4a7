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
"""What Pillow raises on files that are cut off, damaged or no picture at all."""


def read_picture(path: Path, *, formats: Sequence[str] = ("PNG", "JPEG")) -> np.ndarray:
    """The picture in a PNG, JPEG or TIFF file: uint8 (height, width), or (height, width, 3) if it has colours.

    Sixteen-bit grey is scaled so that 65535 becomes 255; transparency is dropped; a picture whose three channels are
    equal is grey. Refuses a file that is absent, damaged, cut off, of several pages, of numbers that are no grey values
    (32 bits, floating point), or larger than Pillow's limit against bombs.
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
        too_large = "is too large for a picture"
        raise UserError(f"{too_large}: {error}", file=path, nameless=too_large) from None
    except (*BROKEN, struct.error, zlib.error) as error:
        reason = textwrap.shorten(str(error).replace(str(path), "file"), 160)
        broken = f"is no whole {' or '.join(formats)}"
        raise UserError(f"{broken}: {reason}", file=path, remedy="fetch it again", nameless=broken) from None


def pictures_below(folder: Path, *, pattern: str, remedy: str) -> dict[str, str]:
    """Where each picture lies below the folder, by its file name; refused if there is none."""
    found = {file.name: str(file.relative_to(folder)) for file in sorted(folder.glob(pattern))}
    if not found:
        raise UserError("has no images", file=folder, remedy=remedy, nameless="has no images")
    return found


def _eight_bits(picture: Image.Image) -> np.ndarray:
    """The pixels of an open picture, whatever its mode."""
    if picture.format == "TIFF" and (picture.mode in ("F", "I") or picture.n_frames > 1):
        raise ValueError(f"{picture.n_frames} pages of mode {picture.mode}, not one of 8 or 16 bits")
    # Pillow would clip, not scale, sixteen bits to eight; before version 11 it calls them "I"
    if picture.mode.startswith("I"):
        wide = np.asarray(picture).astype(np.uint32)
        return ((wide * 255 + 32767) // 65535).astype(np.uint8)
    if picture.mode in ("1", "L", "LA", "La"):
        return np.array(picture.convert("LA").getchannel("L"))
    return grey_if_equal(np.array(picture.convert("RGB")))


def grey_if_equal(pixels: np.ndarray) -> np.ndarray:
    """One channel (height, width) of a (height, width, 3) picture if all three are the same, else the picture."""
    red = pixels[..., :1]
    return pixels[..., 0].copy() if (pixels[..., 1:] == red).all() else pixels
