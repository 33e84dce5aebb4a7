"""Reads the slices of a CT one by one from feet to head, in Hounsfield units, each with its place in the patient.

A scan is read once, and no more than one volume is in memory; a fault of one slice costs only that slice.
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

from headwater.core.errors import DiskError, UserError
from headwater.data.io.decoding import DEFLATED, opened, refusing
from headwater.data.io.elements import PIXELS
from headwater.data.io.folders import refuse_special
from headwater.data.io.frames import IMAGE
from headwater.data.io.nifti import outline, read_nifti
from headwater.data.io.series import Series, SetAside, Sorted, sort_files
from headwater.data.io.stacking import read_slices

HEAD = 2**16
"""Bytes within which most headers end, so that the pixels need not be read."""

NOT_HOUNSFIELD = "has no rescale to Hounsfield units"


KINDS = {
    "unreadable": "is not a readable DICOM image",
    "directory": "is a DICOMDIR, an index of files",
    "no image": "has no pixel data",
    "capture": "is a secondary capture or in colour",
    "localizer": "is a localizer",
    "no place": "has no usable position in the patient",
    "duplicate": "is a copy of another slice",
    "other plane": "is of another plane or size than its series",
}
"""What stands for the kinds of files that belong to no scan, in words that name no file."""


class Place(NamedTuple):
    """Where a slice lies: its scan, millimetres along the normal, and between rows and between columns."""

    series: str
    position: float
    row_spacing: float
    column_spacing: float


class Slice(NamedTuple):
    """One slice of a scan, or the reason why it cannot be used."""

    file: Path
    number: int
    """among the slices of its file, counted from the feet to the head"""
    pixels: np.ndarray | None = None
    """int16 (rows, columns), Hounsfield units"""
    place: Place | None = None
    reason: str = ""
    kind: str = ""
    """the reason without any name, as `UserError.kind`"""
    person: dict[str, str | float] = {}
    """sex and age, where the header has them"""


def hounsfield(values: np.ndarray) -> np.ndarray:
    """Measured values as whole Hounsfield units: int16."""
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(values), limits.min, limits.max).astype(np.int16)


def read_slice(path: Path) -> np.ndarray:
    """The only slice of a DICOM file: int16 (rows, columns), Hounsfield units; refuses all but a CT slice."""
    (slice_,) = dicom_slices([path])
    if slice_.pixels is None:
        raise UserError(slice_.reason, nameless="is not a readable CT slice")
    return slice_.pixels


def dicom_slices(files: Sequence[Path]) -> Iterator[Slice]:
    """One slice for each file: those that can be read in anatomical order, scan by scan, then the others by name."""
    scans = sort_files(files)
    frames = Counter(header.file for series in scans.series for header in series.slices)
    refused = [_refused(item) for item in _set_aside_once(scans)]
    for series in sorted(scans.series, key=lambda series: series.name):
        for number, header in enumerate(series.slices):
            file = header.file
            if frames[file] > 1:
                reason = f"{file}: holds {frames[file]} frames, not one slice"
                refused.append(Slice(file, 0, reason=reason, kind="holds more than one frame"))
                # reported once, not for each of its frames
                frames[file] = -1
            elif frames[file] == 1:
                slice_ = _read(series, number)
                if slice_.pixels is None:
                    refused.append(slice_)
                else:
                    yield slice_
    yield from sorted(refused, key=lambda slice_: str(slice_.file))


def _set_aside_once(scans: Sorted) -> list[SetAside]:
    """The files of which no frame is part of a scan, each once."""
    kept = {header.file for series in scans.series for header in series.slices}
    return list({item.file: item for item in scans.set_aside if item.file not in kept}.values())


def _refused(item: SetAside) -> Slice:
    """A file that is not a slice, with a reason that names it."""
    # the reason of an unreadable file is the text of a UserError, which begins with the file
    reason = item.reason if item.kind == "unreadable" else f"{item.file}: {item.reason}"
    return Slice(item.file, 0, reason=reason, kind=KINDS[item.kind])


def _read(series: Series, number: int) -> Slice:
    """One slice of a series of files, or why it cannot be read."""
    header = series.slices[number]
    if header.unit != "HU":
        return Slice(header.file, 0, reason=f"{header.file}: {NOT_HOUNSFIELD}", kind=NOT_HOUNSFIELD)
    try:
        pixels = next(read_slices(series._replace(slices=(header,))))
    except DiskError:
        raise
    except UserError as refusal:
        return Slice(header.file, 0, reason=str(refusal), kind=refusal.kind)
    place = Place(series.name, float(series.heights[number]), *map(float, header.place.spacing))
    return Slice(header.file, 0, hounsfield(pixels), place)


def nifti_places(path: Path) -> list[Place]:
    """The places of the axial slices of a NIfTI volume, from the feet to the head, from its header alone."""
    volume = outline(path).turned()
    along = volume.directions[:, 0]
    first, step = float(volume.origin @ along), volume.spacing[0]
    return [Place(path.name, first + number * step, *volume.spacing[1:]) for number in range(len(volume.voxels))]


def counted_from_feet(path: Path) -> bool:
    """Whether a NIfTI file stores its slices from the feet to the head; refuses slices that are not axial."""
    letters = outline(path).orientation
    if letters[0] not in "IS":
        raise UserError("does not consist of axial slices", file=path, nameless="does not consist of axial slices")
    return letters[0] == "S"


def nifti_slices(path: Path) -> Iterator[Slice]:
    """The axial slices of a NIfTI volume, from the feet to the head, rows to the back, columns to the left."""
    places = nifti_places(path)
    for number, values in enumerate(read_nifti(path).turned().voxels):
        yield Slice(path, number, hounsfield(values), places[number])


def read_words(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Elements of a DICOM header as text, empty where absent; reads only the beginning of the file if that suffices."""
    with refusing(path, what=IMAGE):
        refuse_special(path)
        with path.open("rb") as file:
            head = file.read(HEAD)
        try:
            dataset = _beginning(head, names=names)
        except (EOFError, ValueError, LookupError):
            dataset = opened(path, tags=names)
        if not len(dataset.file_meta) and not len(dataset):
            raise UserError("is not a DICOM file", file=path, remedy="fetch it again", nameless="is not a DICOM file")
        return {name: _text(dataset.get(name)) for name in names}


def _beginning(head: bytes, *, names: Sequence[str]) -> pydicom.Dataset:
    """These elements from the beginning of a file; EOFError if it ends before the last of them could come."""
    last, reached = max(map(Tag, names)), len(head) < HEAD

    def is_over(tag: BaseTag, kind: str | None, length: int) -> bool:
        nonlocal reached
        # pydicom skips elements that it is not asked for, and stops without an error where a skip leads beyond the end
        reached = reached or tag > last
        return tag in map(Tag, PIXELS)

    if DEFLATED in head:
        # the elements can only be read from the whole file
        raise EOFError
    dataset = read_partial(BytesIO(head), is_over, force=True, specific_tags=list(map(Tag, names)))
    if not reached:
        raise EOFError
    return dataset


def _text(value: object) -> str:
    """An element as text; several values are separated by backslashes, as in the file."""
    if value is None:
        return ""
    return str(value).strip() if isinstance(value, str) or not np.iterable(value) else "\\".join(map(str, value))
