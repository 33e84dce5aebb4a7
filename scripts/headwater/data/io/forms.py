"""Describes the pixel format of an image file in words: PNG, JPEG, TIFF, DICOM or NIfTI, bits, grey or colour."""

import math
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from headwater.core.errors import UserError
from headwater.data.io import raster
from headwater.data.io.folders import is_special
from headwater.data.io.nifti import read_header

MODES = {
    "1": "grey, 1 bit",
    "L": "grey, 8 bits",
    "LA": "grey with transparency, 8 bits",
    "I": "grey, 16 bits",
    "I;16": "grey, 16 bits",
    "I;16B": "grey, 16 bits",
    "P": "palette",
    "RGB": "colour, 8 bits",
    "RGBA": "colour with transparency, 8 bits",
}
"""Pillow's modes in words."""

ALL = tuple(sorted({name for names in raster.FORMATS.values() for name in names}))
"""The formats of all pictures."""


class Form(NamedTuple):
    """The pixel format of a file."""

    words: str = ""
    """"" if unknown"""
    has_age: bool = False
    """Whether the header has an age, sensible or not."""
    bits: int = 0
    """How many bits the values of a grey PNG or TIFF in 16 bits fill; 0 for other files."""


def form_of(path: Path) -> Form:
    """The form of an image file."""
    if is_special(path):
        return Form()
    try:
        # reads the header only: Pillow decodes pixels when they are asked for
        with Image.open(path, formats=ALL) as picture:
            words = f"{picture.format} {MODES.get(picture.mode, picture.mode)}"
    except (*raster.BROKEN, Image.DecompressionBombError):
        return _medical_form(path)
    try:
        bits = raster.bits_of(path, formats=ALL) if "16 bits" in words else 0
    except UserError:
        return Form(words)
    return Form(f"{words} of which {bits} are used" if 0 < bits < 16 else words, bits=bits)


def _medical_form(path: Path) -> Form:
    """The same for a DICOM or NIfTI file."""
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return Form(_nifti_form(path))
    if path.suffix.lower() not in (".dcm", ".dicom"):
        return Form()
    # pydicom is slow to import
    from headwater.data.io.dicom import read_form

    try:
        return Form(*read_form(path))
    except UserError:
        return Form()


def _nifti_form(path: Path) -> str:
    """The form of a NIfTI file, "" if it cannot be read."""
    try:
        return f"NIfTI {read_header(path).kind.name}"
    except UserError:
        return ""


def is_known(age: float | None) -> bool:
    """Whether an age from a header is a number; False for one that could not be interpreted."""
    return age is not None and not math.isnan(age)
