"""Describes the pixel format of an image file in words: PNG, JPEG, DICOM or NIfTI, bits, grey or colour."""

import math
from pathlib import Path

from PIL import Image

from headwater.core.errors import UserError
from headwater.data.io import raster
from headwater.data.io.nifti import read_header

MODES = {
    "1": "grey, 1 bit",
    "L": "grey, 8 bits",
    "LA": "grey with transparency, 8 bits",
    "I": "grey, 16 bits",
    "I;16": "grey, 16 bits",
    "P": "palette",
    "RGB": "colour, 8 bits",
    "RGBA": "colour with transparency, 8 bits",
}
"""Pillow's modes in words."""


def form_of(path: Path) -> tuple[str, bool]:
    """The form in words, "" if unknown, and whether the header has an age, sensible or not."""
    try:
        # reads the header only: Pillow decodes pixels when they are asked for
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            return f"{picture.format} {MODES.get(picture.mode, picture.mode)}", False
    except (*raster.BROKEN, Image.DecompressionBombError):
        return _medical_form(path)


def _medical_form(path: Path) -> tuple[str, bool]:
    """The same for a DICOM or NIfTI file."""
    if path.name.endswith((".nii", ".nii.gz")):
        return _nifti_form(path), False
    if path.suffix not in (".dcm", ".dicom"):
        return "", False
    # pydicom is slow to import
    from headwater.data.io.dicom import read_form

    try:
        return read_form(path)
    except UserError:
        return "", False


def _nifti_form(path: Path) -> str:
    """The form of a NIfTI file, "" if it cannot be read."""
    try:
        return f"NIfTI {read_header(path).kind.name}"
    except UserError:
        return ""


def is_known(age: float | None) -> bool:
    """Whether an age from a header is a number; False for one that could not be interpreted."""
    return age is not None and not math.isnan(age)
