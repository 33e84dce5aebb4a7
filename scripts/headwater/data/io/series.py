"""Sorts DICOM files into scans: which files are slices of one scan, in which order, and why the others are not.

Order and gaps follow from the position of each slice in the patient, never from file names or InstanceNumber.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom

from headwater.core.errors import DiskError, UserError
from headwater.data.io.decoding import frames_of, opened, refusing
from headwater.data.io.diffusion import weighting
from headwater.data.io.elements import MOSAIC, is_mosaic, pixels_of
from headwater.data.io.folders import files_below, is_special
from headwater.data.io.frames import IMAGE
from headwater.data.io.limits import MOST_FRAMES
from headwater.data.io.modality import rescales
from headwater.data.io.places import Place, places_of

DIRECTORY = "1.2.840.10008.1.3.10"
"""SOPClassUID of a DICOMDIR."""

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""What the SOPClassUIDs of all secondary captures begin with (DICOM PS3.6 A)."""

LEAST = 3
"""Fewest slices of another plane or size that count as a scan of their own beside the largest of their series."""

MOST_PLANES = 100
"""Most planes of one series; more are a radial acquisition or a broken file."""

SAME_PLACE = 0.01
"""Millimetres along the normal within which two slices count as being at the same position."""

UNEVEN = 0.1
"""Largest deviation of a slice from even spacing, as a share of the slice distance."""

APART = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "EchoTime",
    "ConvolutionKernel",
    "ImageType",
    "StackID",
    "AcquisitionTime",
)
"""Elements that may distinguish slices at the same position, such as contrast phases, tried in this order."""


class Slice(NamedTuple):
    """One slice: a file, or a frame of one."""

    file: Path
    frame: int
    place: Place
    shape: tuple[int, int]
    instance: str
    distinction: tuple[str, ...]
    """the diffusion weighting (see `diffusion`) and the elements of APART, as text"""
    unit: str
    """HU where its values are Hounsfield units, else empty"""


class Series(NamedTuple):
    """Slices of one orientation, size and pixel spacing, in the order of their positions along the normal."""

    name: str
    """SeriesInstanceUID, or the folder if there is none; followed by #2, #3 where one series holds several scans"""
    modality: str
    description: str
    unit: str
    """HU where every slice has a rescale to Hounsfield units, else empty"""
    slices: tuple[Slice, ...]

    @property
    def positions(self) -> np.ndarray:
        """(slices, 3) in millimetres."""
        return np.array([slice_.place.position for slice_ in self.slices])

    @property
    def heights(self) -> np.ndarray:
        """(slices,) millimetres along the normal."""
        return self.positions @ self.slices[0].place.normal

    @property
    def gaps(self) -> dict[float, int]:
        """How often each distance between neighbouring slices occurs, in millimetres rounded to three digits."""
        return dict(sorted(Counter(float(gap) for gap in np.diff(self.heights).round(3)).items()))

    @property
    def repeated(self) -> int:
        """Number of slices at the same position as another that nothing distinguishes."""
        return int((np.diff(self.heights) < SAME_PLACE).sum())

    @property
    def is_even(self) -> bool:
        """Whether the slices are evenly spaced, so that none is missing."""
        even = np.linspace(self.heights[0], self.heights[-1], len(self.slices))
        step = np.ptp(self.heights) / max(1, len(self.slices) - 1)
        return bool((abs(self.heights - even) <= UNEVEN * step).all())

    @property
    def offsets(self) -> np.ndarray:
        """(slices, 2): in-plane offset of each slice from the middle one, in rows and columns."""
        place = self.slices[0].place
        # the orientation gives the column direction first, offsets are (row, column)
        in_plane = (self.positions - self.positions[len(self.slices) // 2]) @ place.orientation[::-1].T
        return in_plane / place.spacing

    @property
    def is_straight(self) -> bool:
        """Whether the in-plane offsets of all slices agree within a pixel."""
        return bool((np.ptp(self.offsets, axis=0) <= 1).all())

    @property
    def tilt(self) -> float:
        """Degrees between the normal and the line from the first slice to the last, as with a tilted gantry."""
        line = self.positions[-1] - self.positions[0]
        along = line @ self.slices[0].place.normal
        # arctan2 stays defined where all slices are at one position
        return float(np.degrees(np.arctan2(np.linalg.norm(line - along * self.slices[0].place.normal), along)))


class SetAside(NamedTuple):
    """A file, or a frame of it, that belongs to no scan, with the reason."""

    file: Path
    kind: str
    """unreadable, directory, no image, capture, localizer, mosaic, no place, duplicate, or other plane"""
    reason: str


class Sorted(NamedTuple):
    """The scans among some files, and what belongs to none."""

    series: tuple[Series, ...]
    set_aside: tuple[SetAside, ...]


class _Image(NamedTuple):
    """The header of one file, as far as sorting needs it."""

    name: str
    modality: str
    description: str
    slices: list[Slice]


def sort_folder(folder: Path) -> Sorted:
    """The series of all files below a folder, and what was set aside; refused if there is no such folder."""
    if not folder.is_dir():
        raise UserError("is not a folder", file=folder, remedy="name the folder that holds the DICOM files")
    return sort_files(sorted(path for path in files_below(folder) if path.is_file() or is_special(path)))


def sort_files(files: Iterable[Path]) -> Sorted:
    """The scans among these files, the longest of each SeriesInstanceUID first, and what was set aside."""
    aside: list[SetAside] = []
    by_name: dict[str, list[_Image]] = defaultdict(list)
    for path in files:
        image = _examined(path)
        if isinstance(image, SetAside):
            aside.append(image)
        else:
            by_name[image.name].append(image)
    series = [scan for images in by_name.values() for scan in _series(images, aside)]
    return Sorted(tuple(series), tuple(sorted(aside, key=lambda item: (str(item.file), item.reason))))


def _examined(path: Path) -> _Image | SetAside:
    """The header of a file, or why the file belongs to no scan."""
    try:
        with refusing(path, what=IMAGE):
            dataset = opened(path)
            kind, reason = _other_kind(dataset)
            return SetAside(path, kind, reason) if kind else _image(dataset, path)
    except DiskError:
        raise
    except UserError as refusal:
        return SetAside(path, "unreadable", str(refusal))


def _other_kind(dataset: pydicom.Dataset) -> tuple[str, str]:
    """(kind, reason) why a readable file is not a slice; two empty texts if it may be one."""
    file_class = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    types = [str(word).upper() for word in np.atleast_1d(dataset.get("ImageType") or [])]
    # a DICOMDIR without a usable SOPClassUID still has its records
    if file_class == DIRECTORY or "DirectoryRecordSequence" in dataset:
        return "directory", "is a DICOMDIR, an index of files"
    if not pixels_of(dataset) or not dataset.get("Rows") or not dataset.get("Columns"):
        return "no image", "has no pixel data; it may be a report, a plan or cut off"
    if file_class.startswith(CAPTURE):
        return "capture", "is a secondary capture, such as a saved screen"
    if not str(dataset.get("PhotometricInterpretation") or "MONOCHROME").startswith("MONOCHROME"):
        return "capture", "is in colour"
    if any("LOCALIZER" in word for word in types):
        return "localizer", "is a localizer"
    if is_mosaic(dataset):
        return "mosaic", MOSAIC
    return "", ""


def _image(dataset: pydicom.Dataset, path: Path) -> _Image | SetAside:
    """The slices of a file that may be part of a scan."""
    frames = frames_of(dataset)
    if not 1 <= frames <= MOST_FRAMES:
        raise ValueError(f"NumberOfFrames is {frames}")
    places = places_of(dataset, frames=frames)
    if not all(place.is_known for place in places):
        missing = "has no usable ImagePositionPatient, ImageOrientationPatient or PixelSpacing"
        return SetAside(path, "no place", missing)
    modality = _text(dataset, "Modality").upper()
    shape = (int(dataset.Rows), int(dataset.Columns))
    contents = dataset.get("PerFrameFunctionalGroupsSequence") or []
    slices = []
    for number, (place, rescale) in enumerate(zip(places, rescales(dataset, frames=frames), strict=True)):
        distinction = _distinction(contents[number] if number < len(contents) else pydicom.Dataset(), dataset)
        # in CT, an absent RescaleType means Hounsfield units (PS3.3 C.8.2.1)
        in_hounsfield = modality == "CT" and rescale is not None and rescale.unit in ("", "HU")
        unit = "HU" if in_hounsfield else ""
        slices.append(Slice(path, number, place, shape, _text(dataset, "SOPInstanceUID"), distinction, unit))
    name = _text(dataset, "SeriesInstanceUID") or str(path.parent)
    return _Image(name, modality, _text(dataset, "SeriesDescription"), slices)


def _distinction(groups: pydicom.Dataset, dataset: pydicom.Dataset) -> tuple[str, ...]:
    """The diffusion weighting and the elements of APART: of the frame where its groups have them, else of the file."""
    content = (groups.get("FrameContentSequence") or [pydicom.Dataset()])[0]
    return weighting(groups, dataset), *(_text(content, name) or _text(dataset, name) for name in APART)


def _text(dataset: pydicom.Dataset, name: str) -> str:
    """An element as text, empty where it is absent."""
    value: Any = dataset.get(name)
    return "" if value is None else str(value).strip()


def _series(images: list[_Image], aside: list[SetAside]) -> Iterator[Series]:
    """The scans among the images of one SeriesInstanceUID; what fits none goes to `aside`."""
    slices = _without_copies([slice_ for image in images for slice_ in image.slices], aside)
    planes = sorted(_planes(slices, aside), key=len, reverse=True)
    scans = []
    for number, plane in enumerate(planes):
        if number > 0 and len(plane) < LEAST:
            aside += [SetAside(slice_.file, "other plane", _how(slice_, planes[0])) for slice_ in plane]
        else:
            scans += _apart(plane, aside)
    # only the largest scan keeps the plain SeriesInstanceUID as its name
    for number, scan in enumerate(sorted(scans, key=_by_content), start=1):
        ordered = _by_height(scan)
        name = images[0].name if number == 1 else f"{images[0].name}#{number}"
        unit = "HU" if all(slice_.unit == "HU" for slice_ in scan) else ""
        yield Series(name, images[0].modality, images[0].description, unit, tuple(ordered))


def _by_content(scan: list[Slice]) -> tuple:
    """The key by which the scans of a series are numbered: their headers, so that renaming files changes nothing."""
    first = _by_height(scan)[0]
    where = (*first.place.position.tolist(), *first.place.orientation.ravel().tolist())
    return -len(scan), first.distinction, where, first.shape, min(slice_.instance for slice_ in scan)


def _without_copies(slices: list[Slice], aside: list[SetAside]) -> list[Slice]:
    """The slices without copies: the same SOPInstanceUID, frame, size and place in a second file."""
    seen: dict[tuple, Slice] = {}
    for slice_ in slices:
        place = slice_.place
        key = (slice_.instance, slice_.frame, slice_.shape, *place.position, *place.orientation.ravel())
        # without a SOPInstanceUID nothing says that two slices are copies
        first = seen.setdefault(key, slice_) if slice_.instance else slice_
        if first is not slice_:
            aside.append(SetAside(slice_.file, "duplicate", f"is the same image as {first.file.name}"))
    # by identity, because slices hold arrays, which cannot be compared with ==
    kept = set(map(id, seen.values()))
    return [slice_ for slice_ in slices if not slice_.instance or id(slice_) in kept]


def _planes(slices: list[Slice], aside: list[SetAside]) -> list[list[Slice]]:
    """The slices by orientation, size and spacing; those beyond MOST_PLANES groups go to `aside`."""
    planes: list[list[Slice]] = []
    for slice_ in slices:
        fitting = next((plane for plane in planes if not _difference(slice_, plane[0])), None)
        if fitting is not None:
            fitting.append(slice_)
        elif len(planes) < MOST_PLANES:
            planes.append([slice_])
        else:
            too_many = f"belongs to a series of more than {MOST_PLANES} planes"
            aside.append(SetAside(slice_.file, "other plane", too_many))
    return planes


def _difference(slice_: Slice, other: Slice) -> str:
    """Why two slices cannot be of one stack; empty if they can."""
    if slice_.shape != other.shape:
        return "another size"
    # headers round direction cosines and spacing to a few digits
    if abs(slice_.place.orientation - other.place.orientation).max() > 1e-3:
        return "another plane"
    if abs(slice_.place.spacing / other.place.spacing - 1).max() > 1e-3:
        return "another pixel spacing"
    return ""


def _how(slice_: Slice, plane: list[Slice]) -> str:
    """Why a slice does not belong to the largest stack of its series."""
    return f"has {_difference(slice_, plane[0])} than the {len(plane)} slices of its series"


def _apart(plane: list[Slice], aside: list[SetAside]) -> list[list[Slice]]:
    """A stack split into several where a weighting or an element of APART distinguishes slices at one position."""
    if _most_at_one_place(plane) == 1:
        return [plane]
    plane = _without_same_pixels(plane, aside)
    most = _most_at_one_place(plane)
    # one element must do it alone: combined, elements such as the time would separate any two slices
    for number in range(len(plane[0].distinction)):
        parts = list(_by(plane, key=lambda slice_, number=number: slice_.distinction[number]).values())
        # as many parts as slices share a position are phases; more parts are scans that overlap in places, but only
        # if each has enough slices to be a scan
        is_split = len(parts) == most or (len(parts) > most and min(map(len, parts)) >= LEAST)
        if most > 1 and is_split and all(_most_at_one_place(part) == 1 for part in parts):
            return parts
    return [plane]


def _by(slices: list[Slice], *, key: Callable[[Slice], Any]) -> dict[Any, list[Slice]]:
    """The slices grouped by a key, groups in the order of their first slices."""
    groups: dict[Any, list[Slice]] = defaultdict(list)
    for slice_ in slices:
        groups[key(slice_)].append(slice_)
    return groups


def _by_height(plane: list[Slice]) -> list[Slice]:
    """The slices in the order of their positions along the normal."""
    normal = plane[0].place.normal
    return sorted(plane, key=lambda slice_: (float(slice_.place.position @ normal), str(slice_.file), slice_.frame))


def _most_at_one_place(plane: list[Slice]) -> int:
    """The largest number of slices at one position."""
    return max(len(group) for group in _crowds(plane))


def _crowds(plane: list[Slice]) -> list[list[Slice]]:
    """The slices grouped by position, along the normal."""
    normal = plane[0].place.normal
    ordered = _by_height(plane)
    crowds = [[ordered[0]]]
    for slice_ in ordered[1:]:
        distance = (slice_.place.position - crowds[-1][0].place.position) @ normal
        if distance < SAME_PLACE:
            crowds[-1].append(slice_)
        else:
            crowds.append([slice_])
    return crowds


def _without_same_pixels(plane: list[Slice], aside: list[SetAside]) -> list[Slice]:
    """The slices without those that hold the same values as another at their position; they go to `aside`."""
    # a file of many frames is read once
    copies, stored = set(), cache(_stored)
    for crowd in _crowds(plane):
        seen: dict[tuple[bytes, str], Slice] = {}
        for slice_ in sorted(crowd, key=lambda slice_: str(slice_.file)) if len(crowd) > 1 else []:
            first = seen.setdefault(stored(slice_.file), slice_)
            # frames of one file are never copies of each other
            if first.file != slice_.file:
                aside.append(SetAside(slice_.file, "duplicate", f"is the same image as {first.file.name}"))
                copies.add(id(slice_))
    return [slice_ for slice_ in plane if id(slice_) not in copies]


def _stored(path: Path) -> tuple[bytes, str]:
    """A digest of the pixel data of a file, and its rescale: files that agree in both hold the same values."""
    with refusing(path, what=IMAGE):
        dataset = opened(path)
        pixels = bytes(dataset[pixels_of(dataset)].value)
        return hashlib.blake2b(pixels).digest(), str(rescales(dataset, frames=1))
