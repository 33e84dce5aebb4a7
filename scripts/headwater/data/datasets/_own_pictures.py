"""Pictures of one's own: which files are taken for pictures, and their grey values or colours."""

import re
from pathlib import Path
from typing import Literal

import numpy as np

from headwater.data.datasets._own_table import Read
from headwater.data.io.raster import FORMATS, read_picture

DICOMS = (".dcm", ".dicom")

READABLE = (*FORMATS, *DICOMS)
"""The suffixes of files that are read."""


def refuse_other_files(found: Read) -> None:
    """Refuse a table for the first file whose suffix is none of a picture."""
    no_image = ~found.cells["file"].str.contains(rf"(?i)[^/](?:{'|'.join(map(re.escape, READABLE))})$").to_numpy()
    found.refuse(no_image, "file", " has no suffix of an image", remedy=f"use one of {', '.join(READABLE)}")


def is_dicom(path: Path) -> bool:
    """Whether a picture is a DICOM file, by its suffix."""
    return path.suffix.lower() in DICOMS


def read(path: Path, *, bits: int | Literal["guessed"] = "guessed") -> np.ndarray:
    """One picture, upright: uint8 (height, width), or in colour (height, width, 3)."""
    if is_dicom(path):
        # pydicom is slow to import, and planning reads no pixels
        from headwater.data.io.dicom import read_radiograph

        return read_radiograph(path)
    return read_picture(path, formats=FORMATS[path.suffix.lower()], bits=bits)
