"""Checks the elements of a DICOM header without which there is no picture, and refuses a file by what it lacks."""

from pathlib import Path

import numpy as np
import pydicom

from headwater.core.errors import UserError

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
"""The elements that hold pixels: integers, or numbers of 32 or 64 bits (DICOM PS3.3 C.7.6.24, C.7.6.25)."""

DESCRIBE = {
    "SamplesPerPixel": "whether it is grey or in colour",
    "PhotometricInterpretation": "whether low values are dark or bright",
    "BitsAllocated": "how many bits a value takes",
}
"""Elements that each image must have (type 1, DICOM PS3.3 C.7.6.3), and what is unknown without them."""

DESCRIBE_INTEGERS = {
    "BitsStored": "how many bits of a value count",
    "PixelRepresentation": "whether values may be negative",
}
"""The same for images of integers."""

ADD = "add the element (dcmodify of DCMTK), or export the file again"


def pixels_of(dataset: pydicom.Dataset) -> str:
    """The element that holds the pixels; "" if none is there or it is empty."""
    return next((name for name in PIXELS if dataset.get(name)), "")


def refuse_without_picture(dataset: pydicom.Dataset, path: Path) -> None:
    """Refuse a file without pixels, or without an element that describes them."""
    if "PixelDataProviderURL" in dataset:
        what = "holds no pixels but the address of a server that has them"
        raise UserError(what, file=path, remedy="fetch the image itself from that server", nameless=what)
    if not any(name in dataset for name in PIXELS):
        remedy = "it may be a report or cut off; fetch it again"
        raise UserError("has no pixel data", file=path, remedy=remedy, nameless="has no pixel data")
    pixels = pixels_of(dataset)
    if not pixels:
        what = "holds no pixels: their element is empty"
        raise UserError(what, file=path, remedy="export it again with its pixels", nameless=what)
    for name in ("Rows", "Columns"):
        if not dataset.get(name):
            raise UserError(f"has no {name}", file=path, remedy="fetch it again", nameless=f"has no {name}")
    needed = DESCRIBE | DESCRIBE_INTEGERS if pixels == "PixelData" else DESCRIBE
    for name, unknown in needed.items():
        if dataset.get(name) in (None, ""):
            what = f"has no {name}, which says {unknown}"
            raise UserError(what, file=path, remedy=ADD, nameless=what)
    high, highest = dataset.get("HighBit"), (dataset.get("BitsStored") or 0) - 1
    # any other was retired, and decoders go by the lowest bits (DICOM PS3.5 8.1.1)
    if pixels == "PixelData" and high not in (None, "", highest):
        what = f"has HighBit {high}, but of {highest + 1} bits stored the highest is {highest}"
        raise UserError(what, file=path, remedy="mend the element that is wrong, or export it again", nameless=what)


def is_mosaic(dataset: pydicom.Dataset) -> bool:
    """Whether a file holds a mosaic: all slices of a volume side by side, as Siemens scanners write them."""
    return any("MOSAIC" in str(word).upper() for word in np.atleast_1d(dataset.get("ImageType") or []))


def refuse_mosaic(dataset: pydicom.Dataset, path: Path) -> None:
    """Refuse a mosaic where one picture is wanted."""
    if is_mosaic(dataset):
        raise UserError(MOSAIC, file=path, remedy="split it into slices, for example with dcm2niix", nameless=MOSAIC)


MOSAIC = "is a Siemens mosaic: many slices side by side in one picture"
