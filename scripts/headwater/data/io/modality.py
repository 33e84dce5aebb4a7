"""Turns stored values into what the scanner measured, such as Hounsfield units: by a table, or by slope and intercept.

DICOM PS3.3 C.11.1; for each frame of its own in enhanced files, C.7.6.16.2.9.
"""

from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.pixels import apply_rescale


class Rescale(NamedTuple):
    """How the stored values of a frame become measured ones, and what these are in."""

    slope: float
    intercept: float
    unit: str


def of_file(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Values by the table or rescale that a header gives for all of a file; the same values where it gives none."""
    if has_table(dataset, "ModalityLUTSequence"):
        return looked_up(values, table=table_of(dataset.ModalityLUTSequence[0], dataset))
    if dataset.get("RescaleSlope") is not None and dataset.get("RescaleIntercept") is not None:
        return apply_rescale(values, dataset)
    return values


def measured(stored: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Measured values of each frame: float32, in the shape of the stored ones; colours and palettes as they are."""
    if stored.ndim == 4 or dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        return stored.astype(np.float32)
    if has_table(dataset, "ModalityLUTSequence"):
        return looked_up(stored, table=table_of(dataset.ModalityLUTSequence[0], dataset)).astype(np.float32)
    frames = np.empty(stored.shape, np.float32)
    for number, rescale in enumerate(rescales(dataset, frames=len(stored))):
        # in double precision, because a float of 32 bits tells large stored values apart no longer
        frames[number] = stored[number] if rescale is None else stored[number] * rescale.slope + rescale.intercept
    return frames


def rescales(dataset: pydicom.Dataset, *, frames: int) -> list[Rescale | None]:
    """The rescale of each frame: its own, else that of all frames, else the file's; None where nothing is told."""
    file = _rescale(dataset)
    shared = _in_group(dataset.get("SharedFunctionalGroupsSequence"), 0) or file
    own = dataset.get("PerFrameFunctionalGroupsSequence")
    return [_in_group(own, number) or shared for number in range(frames)] if own else [shared] * frames


def _in_group(groups: pydicom.Sequence | None, number: int) -> Rescale | None:
    """The rescale in one item of functional groups."""
    transformations = (
        groups[number].get("PixelValueTransformationSequence") if groups and number < len(groups) else None
    )
    return _rescale(transformations[0]) if transformations else None


def _rescale(dataset: pydicom.Dataset) -> Rescale | None:
    """The rescale that a header gives, if it gives a whole one."""
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope in (None, "") or intercept in (None, ""):
        return None
    slope, intercept = float(slope), float(intercept)
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise ValueError(f"a rescale slope of {slope:g} and intercept of {intercept:g} make no sense")
    return Rescale(slope, intercept, str(dataset.get("RescaleType") or "").strip().upper())


def has_table(dataset: pydicom.Dataset, sequence: str) -> bool:
    """Whether a sequence of look-up tables is there and its first table is not empty."""
    return bool(dataset.get(sequence)) and bool(dataset[sequence].value[0].get("LUTDescriptor"))


def table_of(item: pydicom.Dataset, dataset: pydicom.Dataset) -> tuple[int, np.ndarray]:
    """A look-up table: the value that its first entry stands for, and its entries."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        entry = (
            "u1" if bits == 8 and len(data) < 2 * (entries or 2**16) else "<>"[not dataset.original_encoding[1]] + "u2"
        )
        data = np.frombuffer(data, entry)
    return first, np.asarray(data)[: entries or 2**16]


def looked_up(values: np.ndarray, *, table: tuple[int, np.ndarray]) -> np.ndarray:
    """Values by a table, those beyond its ends by its first or last entry.

    Not pydicom's functions: they wrap around where eight-bit entries stand for more than 256 values, and know
    modality tables of 8 and 16 bits only.
    """
    first, entries = table
    whole = np.rint(values).astype(np.int64)
    # the first value may be negative, but headers write it unsigned
    if first >= 2**15 and whole.max() < first:
        first -= 2**16
    return entries[np.clip(whole - first, 0, len(entries) - 1)]
