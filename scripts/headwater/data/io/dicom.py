"""Reads DICOM radiographs as grey pictures in which dense tissue is bright, and the patient's sex and age."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, apply_windowing

from headwater.core.errors import UserError
from headwater.data.io import levels
from headwater.data.io.ages import in_years
from headwater.data.io.decoding import frames_of, opened, refusing, stored_values
from headwater.data.io.elements import refuse_mosaic, refuse_without_picture
from headwater.data.io.modality import has_table, looked_up, of_file, table_of
from headwater.data.io.raster import grey_if_equal

RADIOGRAPH = "DICOM radiograph"

PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
"""Values of PhotometricInterpretation that may be shown; any other text could hold a name."""


def read_radiograph(path: Path) -> np.ndarray:
    """The picture of a single-frame grey DICOM file: uint8 (height, width), 255 = white.

    Stored values go through the modality LUT or rescale, then through the VOI LUT or the first window, if its width is
    valid; without either, the lowest value becomes 0 and the highest 255, and padding, which has no part in that, 0.
    MONOCHROME1 is inverted (DICOM PS3.3 C.7.5.1.1.2, C.7.6.3.1.2, C.11.1, C.11.2). Refuses a file that is absent,
    damaged, cut off, of several frames or a mosaic, in colour or without pixels.
    """
    with refusing(path, what=RADIOGRAPH):
        dataset = opened(path)
        refuse_without_picture(dataset, path)
        refuse_mosaic(dataset, path)
        _refuse_frames(dataset, path)
        stored = stored_values(dataset, path)[0]
        if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
            stored = apply_color_lut(stored, dataset)
        if stored.ndim == 3:
            return _grey_of_colour(stored, path)
        if stored.dtype.kind == "f" and not np.isfinite(stored).all():
            what = "has pixel values that are not finite"
            raise UserError(what, file=path, remedy="take it off the list", nameless=what)
        return _as_grey(stored, dataset)


def read_tags(path: Path) -> dict[str, str | float]:
    """`sex` ("F", "M" or "") and `age` (years or NaN) of the patient, without reading pixels."""
    with refusing(path, what=RADIOGRAPH):
        dataset = opened(path, tags=["PatientSex", "PatientAge"])
        sex = str(dataset.get("PatientSex") or "").strip().upper()[:1]
        return {"sex": sex if sex in ("F", "M") else "", "age": in_years(dataset.get("PatientAge") or "")}


def read_grid(path: Path) -> tuple[tuple[int, int], tuple[float, float] | None]:
    """(height and width in pixels, millimetres between its rows and between its columns or None), without pixels."""
    with refusing(path, what=RADIOGRAPH):
        dataset = opened(path, tags=["Rows", "Columns", "PixelSpacing"])
        spacing = [float(length) for length in dataset.get("PixelSpacing") or ()]
        usable = len(spacing) == 2 and all(0 < length < math.inf for length in spacing)
        sides = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
        return sides, (spacing[0], spacing[1]) if usable else None


def read_form(path: Path) -> tuple[str, bool]:
    """The pixel format of a DICOM file in words, and whether PatientAge is filled, sensibly or not."""
    with refusing(path, what=RADIOGRAPH):
        dataset = opened(path, tags=["PhotometricInterpretation", "BitsStored", "PatientAge"])
        photometric = str(dataset.get("PhotometricInterpretation") or "")
        colours = photometric if photometric in PHOTOMETRIC else "unknown colours"
        return f"DICOM {colours}, {dataset.get('BitsStored') or 'unknown'} bits", bool(dataset.get("PatientAge"))


def _refuse_frames(dataset: pydicom.Dataset, path: Path) -> None:
    """Refuse a file of several frames."""
    if frames_of(dataset) != 1:
        frames, remedy = frames_of(dataset), "a radiograph has one; export it as a single frame"
        raise UserError(f"holds {frames} frames", file=path, remedy=remedy, nameless="holds more than one frame")


def _grey_of_colour(pixels: np.ndarray, path: Path) -> np.ndarray:
    """One channel of a colour picture (height, width, 3) whose channels are equal."""
    grey = grey_if_equal(pixels)
    if grey.ndim == 3:
        remedy = "a radiograph is grey; take it off the list"
        raise UserError("is in colour", file=path, remedy=remedy, nameless="is in colour")
    return _stretched(grey, black=0, white=np.iinfo(grey.dtype).max)


def _as_grey(stored: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Display values 0 to 255 of stored values."""
    lowest, highest = stored.min(), stored.max()
    if stored.dtype.kind == "f" or int(highest) - int(lowest) >= 2**16:
        return _shades(stored, dataset)
    # millions of pixels have at most 65,536 different values: each value is converted once
    lowest, count = int(lowest), int(highest) - int(lowest) + 1
    occurs = np.ones(count, bool)
    if dataset.get("PixelPaddingValue") not in (None, "") or has_table(dataset, "ModalityLUTSequence"):
        # otherwise the lowest and the highest value are all that shades depend on
        occurs = levels.present(stored, lowest=lowest, count=count)
    table = np.zeros(count, np.uint8)
    table[occurs] = _shades((np.flatnonzero(occurs) + lowest).astype(np.int32), dataset)
    return levels.replaced(stored, lowest=lowest, by=table)


def _shades(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Display values 0 to 255, each from its stored value alone."""
    is_padding = _is_padding(values, dataset)
    # a window says which values are shown, and how padding looks follows from it
    is_background = np.zeros_like(is_padding)
    values = of_file(values, dataset)
    if has_table(dataset, "VOILUTSequence"):
        table = table_of(dataset.VOILUTSequence[0], dataset)
        values, black, white = looked_up(values, table=table), table[1].min(), table[1].max()
    elif _has_window(dataset):
        # pydicom maps the window to the range of the stored bits: ask it for both ends of that range
        black, white = apply_windowing(np.array([-np.inf, np.inf]), dataset)
        values = apply_windowing(values, dataset)
    else:
        # a file of padding alone shows nothing, and comes out as one shade
        shown = values[~is_padding] if not is_padding.all() else values
        black, white = shown.min(), shown.max()
        is_background = is_padding & (black != white)
    shades = _stretched(values, black=float(black), white=float(white))
    shades = 255 - shades if dataset.get("PhotometricInterpretation") == "MONOCHROME1" else shades
    return np.where(is_background, np.uint8(0), shades)


def _is_padding(stored: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Which stored values are padding around the picture: one value, or all between it and the range limit."""
    ends = [dataset.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    ends = [_as_stored(end, dataset) for end in ends if end not in (None, "")]
    if dataset.get("PixelPaddingValue") in (None, "") or stored.dtype.kind == "f":
        return np.zeros(stored.shape, bool)
    # the limit may lie on either side of the value
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(number: int | bytes, dataset: pydicom.Dataset) -> int:
    """A padding value as the pixels have it: some headers write negative ones as unsigned, or the other way round."""
    if isinstance(number, bytes):
        number = int.from_bytes(number[:2], "little" if dataset.original_encoding[1] else "big")
    span = 2 ** int(dataset.BitsAllocated)
    is_signed = dataset.PixelRepresentation == 1
    lowest = -span // 2 if is_signed else 0
    return lowest + (int(number) - lowest) % span


def _has_window(dataset: pydicom.Dataset) -> bool:
    """Whether the header has a window with a valid width; of several windows the first counts."""
    center, width = (dataset.get(name) for name in ("WindowCenter", "WindowWidth"))
    first = [
        value[0] if isinstance(value, Sequence) and not isinstance(value, str) and len(value) else value
        for value in (center, width)
    ]
    if any(value in (None, "") or isinstance(value, Sequence) for value in first):
        return False
    if dataset.get("BitsStored") is None:
        # float pixels have no BitsStored; pydicom needs it, but the display values do not depend on it
        dataset.BitsStored, dataset.PixelRepresentation = 16, 0
    # LINEAR divides by the width less 1, the other functions by the width (PS3.3 C.11.2.1.2)
    linear = str(dataset.get("VOILUTFunction") or "LINEAR").upper() == "LINEAR"
    return bool(np.isfinite(float(first[0]))) and (float(first[1]) > 1 if linear else float(first[1]) > 0)


def _stretched(values: np.ndarray, *, black: float, white: float) -> np.ndarray:
    """Values as uint8, `black` as 0 and `white` as 255; all 0 where `black` equals `white`."""
    if black == white:
        return np.zeros(values.shape, np.uint8)
    return np.rint(np.clip((values - black) / (white - black), 0, 1) * 255).astype(np.uint8)
