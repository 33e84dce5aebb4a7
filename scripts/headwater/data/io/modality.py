"""Turns stored values into measured ones, such as Hounsfield units, by rescale slope and intercept or modality LUT.

DICOM PS3.3 C.11.1; in enhanced files each frame may have its own rescale, C.7.6.16.2.9.
"""

from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.pixels import apply_rescale


class Rescale(NamedTuple):
    """Rescale slope, intercept and type (unit) of a frame."""

    slope: float
    intercept: float
    unit: str


def of_file(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Values after the modality LUT or rescale of the whole file; unchanged where the header has neither."""
    if has_table(dataset, "ModalityLUTSequence"):
        return looked_up(values, table=table_of(dataset.ModalityLUTSequence[0], dataset))
    if dataset.get("RescaleSlope") is not None and dataset.get("RescaleIntercept") is not None:
        return apply_rescale(values, dataset)
    return values


def measured(stored: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Measured values of each frame: float32, in the shape of `stored`; colours and palette indices unchanged."""
    if stored.ndim == 4 or dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        return stored.astype(np.float32)
    if has_table(dataset, "ModalityLUTSequence"):
        return looked_up(stored, table=table_of(dataset.ModalityLUTSequence[0], dataset)).astype(np.float32)
    frames = np.empty(stored.shape, np.float32)
    for number, rescale in enumerate(rescales(dataset, frames=len(stored))):
        # computed in double precision, because float32 cannot represent all integers above 2^24
        frames[number] = stored[number] if rescale is None else stored[number] * rescale.slope + rescale.intercept
    return frames


def rescales(dataset: pydicom.Dataset, *, frames: int) -> list[Rescale | None]:
    """The rescale of each frame: its own, else the shared one, else the file's; None where the header has none."""
    file = _rescale(dataset)
    shared = _rescale_in(dataset.get("SharedFunctionalGroupsSequence"), 0) or file
    own = dataset.get("PerFrameFunctionalGroupsSequence")
    return [_rescale_in(own, number) or shared for number in range(frames)] if own else [shared] * frames


def _rescale_in(groups: pydicom.Sequence | None, number: int) -> Rescale | None:
    """The rescale in one item of functional groups, if there is one."""
    transformations = (
        groups[number].get("PixelValueTransformationSequence") if groups and number < len(groups) else None
    )
    return _rescale(transformations[0]) if transformations else None


def _rescale(dataset: pydicom.Dataset) -> Rescale | None:
    """The rescale of a header, if it has both slope and intercept."""
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope in (None, "") or intercept in (None, ""):
        return None
    slope, intercept = float(slope), float(intercept)
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise ValueError(f"has RescaleSlope {slope:g} and RescaleIntercept {intercept:g}")
    return Rescale(slope, intercept, str(dataset.get("RescaleType") or "").strip().upper())


def has_table(dataset: pydicom.Dataset, sequence: str) -> bool:
    """Whether a sequence of look-up tables is present and its first table is not empty."""
    return bool(dataset.get(sequence)) and bool(dataset[sequence].value[0].get("LUTDescriptor"))


def table_of(item: pydicom.Dataset, dataset: pydicom.Dataset) -> tuple[int, np.ndarray]:
    """A look-up table: the stored value that its first entry belongs to, and its entries."""
    # LUTDescriptor; a number of entries of 0 means 2^16 (PS3.3 C.11.1.1.1)
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        # tables of 8 bits occur both with one and with two bytes per entry
        byte_order = "<" if dataset.original_encoding[1] else ">"
        is_narrow = bits == 8 and len(data) < 2 * (entries or 2**16)
        data = np.frombuffer(data, "u1" if is_narrow else f"{byte_order}u2")
    return first, np.asarray(data)[: entries or 2**16]


def looked_up(values: np.ndarray, *, table: tuple[int, np.ndarray]) -> np.ndarray:
    """Values after a look-up table; values beyond its ends get its first or last entry.

    pydicom's functions are not used: they wrap around where a table of 8-bit entries has more than 256 of them, and
    accept modality LUTs of 8 and 16 bits only.
    """
    first, entries = table
    whole = np.rint(values).astype(np.int64)
    # the first stored value may be negative, but some headers write it as an unsigned number
    if first >= 2**15 and whole.max() < first:
        first -= 2**16
    return entries[np.clip(whole - first, 0, len(entries) - 1)]
