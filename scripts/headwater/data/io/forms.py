"""Says in which form an image file keeps its pixels: PNG, JPEG or DICOM, how many bits, grey or in colour."""

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


def form_of(path: Path) -> tuple[str, bool]:
    """The form in words, "" where the header does not tell, and whether the header tells an age, sensible or not."""
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            return f"{picture.format} {MODES.get(picture.mode, picture.mode)}", False
    except (*raster.BROKEN, Image.DecompressionBombError):
        return _of_dicom(path)


def _of_dicom(path: Path) -> tuple[str, bool]:
    """The same for what is no picture."""
    if path.name.endswith((".nii", ".nii.gz")):
        return _of_nifti(path), False
    if path.suffix not in (".dcm", ".dicom"):
        return "", False
    # pydicom is slow to import
    from headwater.data.io.dicom import read_form

    try:
        return read_form(path)
    except UserError:
        return "", False


def _of_nifti(path: Path) -> str:
    """The form of a volume."""
    try:
        return f"NIfTI {read_header(path).kind.name}"
    except UserError:
        return ""


def is_known(age: float | None) -> bool:
    """Whether a reader of headers could make sense of an age."""
    return age is not None and not math.isnan(age)
