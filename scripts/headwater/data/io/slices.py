"""Gives the slices of a CT one by one from feet to head, in Hounsfield units, each with its place in the patient.

A scan is read once, and of a volume no more than one is held; what is wrong with one slice costs that slice alone.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from headwater.core.errors import UserError
from headwater.data.io.decoding import DEFLATED, PIXELS, opened, refusing
from headwater.data.io.frames import IMAGE
from headwater.data.io.nifti import outline, read_nifti
from headwater.data.io.series import Series, SetAside, Sorted, sort_files
from headwater.data.io.stacking import read_slices

HEAD = 2**16
"""Bytes in which a header of words mostly ends."""

NOT_HOUNSFIELD = "does not tell Hounsfield units"


class Place(NamedTuple):
    """Where a slice lies: its scan, millimetres along the normal, and between rows and between columns."""

    series: str
    position: float
    row_spacing: float
    column_spacing: float


class Slice(NamedTuple):
    """One slice of a scan, or why it is none."""

    file: Path
    number: int
    """of the file's slices, from the feet to the head"""
    pixels: np.ndarray | None = None
    """int16 (rows, columns), Hounsfield units"""
    place: Place | None = None
    reason: str = ""
    person: dict[str, str | float] = {}
    """sex and age, where the header tells them"""


def hounsfield(values: np.ndarray) -> np.ndarray:
    """Measured values as whole Hounsfield units: int16."""
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(values), limits.min, limits.max).astype(np.int16)


def read_slice(path: Path) -> np.ndarray:
    """The one slice of a DICOM file: int16 (rows, columns), Hounsfield units; refused if it is no slice of a CT."""
    (found,) = dicom_slices([path])
    if found.pixels is None:
        raise UserError(found.reason, nameless="is no readable slice of a CT")
    return found.pixels


def dicom_slices(files: Sequence[Path]) -> Iterator[Slice]:
    """What became of each of these files: the slices of their scans in anatomical order, then what is no slice."""
    found = sort_files(files)
    frames = Counter(one.file for series in found.series for one in series.slices)
    refused = [_aside(one) for one in _once(found)]
    for series in sorted(found.series, key=lambda series: series.name):
        for number, one in enumerate(series.slices):
            if frames[one.file] > 1:
                refused.append(Slice(one.file, 0, reason=f"{one.file}: holds {frames[one.file]} frames, not one slice"))
                frames[one.file] = -1
            elif frames[one.file] == 1:
                slice_ = _read(series, number)
                if slice_.pixels is None:
                    refused.append(slice_)
                else:
                    yield slice_
    yield from sorted(refused, key=lambda one: str(one.file))


def _once(found: Sorted) -> list[SetAside]:
    """What was set aside, a file once, and none of which a slice was kept."""
    kept = {one.file for series in found.series for one in series.slices}
    return list({one.file: one for one in found.set_aside if one.file not in kept}.values())


def _aside(one: SetAside) -> Slice:
    """Why a file is no slice; of an unreadable one the reason names it already."""
    reason = one.reason if one.kind == "unreadable" else f"{one.file}: {one.reason}"
    return Slice(one.file, 0, reason=reason)


def _read(series: Series, number: int) -> Slice:
    """One slice of a series of files, or why it cannot be read."""
    one = series.slices[number]
    if one.unit != "HU":
        return Slice(one.file, 0, reason=f"{one.file}: {NOT_HOUNSFIELD}")
    try:
        pixels = next(read_slices(series._replace(slices=(one,))))
    except UserError as refusal:
        return Slice(one.file, 0, reason=str(refusal))
    place = Place(series.name, float(series.heights[number]), *map(float, one.place.spacing))
    return Slice(one.file, 0, hounsfield(pixels), place)


def nifti_places(path: Path) -> list[Place]:
    """Where the axial slices of a NIfTI volume lie, from the feet to the head, by its header alone."""
    volume = outline(path).turned()
    along = volume.directions[:, 0]
    first, step = float(volume.origin @ along), volume.spacing[0]
    return [Place(path.name, first + number * step, *volume.spacing[1:]) for number in range(len(volume.voxels))]


def counted_from_feet(path: Path) -> bool:
    """Whether the slices of a NIfTI volume lie in its file from the feet to the head; refused if they are not axial."""
    letters = outline(path).orientation
    if letters[0] not in "IS":
        raise UserError("is not made of axial slices", file=path, nameless="is not made of axial slices")
    return letters[0] == "S"


def nifti_slices(path: Path) -> Iterator[Slice]:
    """The axial slices of a NIfTI volume, from the feet to the head, rows to the back, columns to the left."""
    places = nifti_places(path)
    for number, values in enumerate(read_nifti(path).turned().voxels):
        yield Slice(path, number, hounsfield(values), places[number])


def read_words(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Elements of a DICOM header as text, empty where it lacks one, mostly without reading the whole file."""
    with refusing(path, what=IMAGE):
        with path.open("rb") as file:
            head = file.read(HEAD)
        try:
            told = _beginning(head, names=names)
        except (EOFError, ValueError, LookupError):
            told = opened(path, tags=names)
        if not len(told.file_meta) and not len(told):
            raise UserError("is no DICOM file", file=path, remedy="fetch it again", nameless="is no DICOM file")
        return {name: _text(told.get(name)) for name in names}


def _beginning(head: bytes, *, names: Sequence[str]) -> pydicom.Dataset:
    """What the beginning of a file says of these elements; EOFError where it ends before all of them."""
    last, reached = max(map(Tag, names)), len(head) < HEAD

    def is_over(tag: BaseTag, kind: str | None, length: int) -> bool:
        nonlocal reached
        # pydicom steps over what it is not asked for, and ends without a word where that lies beyond the beginning
        reached = reached or tag > last
        return tag in map(Tag, PIXELS)

    if DEFLATED in head:
        raise EOFError
    told = read_partial(BytesIO(head), is_over, force=True, specific_tags=list(map(Tag, names)))
    if not reached:
        raise EOFError
    return told


def _text(told: object) -> str:
    """An element as text; numbers of a list with a backslash between them, as the file has it."""
    if told is None:
        return ""
    return str(told).strip() if isinstance(told, str) or not np.iterable(told) else "\\".join(map(str, told))
