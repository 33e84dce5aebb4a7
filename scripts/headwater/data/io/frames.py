"""Reads the frames of any DICOM image as measured values, such as Hounsfield units, with their place in the patient."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom

from headwater.core.errors import UserError
from headwater.data.io.decoding import frames_of, opened, refusing, stored_values
from headwater.data.io.elements import refuse_without_picture
from headwater.data.io.modality import measured
from headwater.data.io.places import Place, places_of

IMAGE = "DICOM image"


class Frames(NamedTuple):
    """The frames of a DICOM file."""

    pixels: np.ndarray
    """float32 (frames, rows, columns), or (frames, rows, columns, 3) in colour, after the modality LUT or rescale"""
    places: tuple[Place, ...]
    photometric: str
    """PhotometricInterpretation; MONOCHROME1 is not inverted, PALETTE COLOR gives indices of the palette."""
    modality: str


def read_frames(path: Path) -> Frames:
    """All frames of a DICOM file; refuses one that is absent, damaged, cut off or without pixel data."""
    with refusing(path, what=IMAGE):
        dataset = opened(path)
        refuse_without_picture(dataset, path)
        pixels = measured(stored_values(dataset, path), dataset)
        # float pixels may hold NaN, which would spread through every mean and convolution
        if not np.isfinite(pixels).all():
            what = "has pixel values that are not finite"
            raise UserError(what, file=path, remedy="take it off the list", nameless=what)
        places = tuple(places_of(dataset, frames=frames_of(dataset)))
        return Frames(pixels, places, _word(dataset, "PhotometricInterpretation"), _word(dataset, "Modality"))


def _word(dataset: pydicom.Dataset, name: str) -> str:
    """An element as text in capitals."""
    return str(dataset.get(name) or "").strip().upper()
