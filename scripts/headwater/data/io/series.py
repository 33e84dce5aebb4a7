"""Tells the files of a folder apart: which are slices of one scan, in which order, and which are not, and why.

Order and gaps follow from where each slice lies in the patient; file names and slice numbers are never believed.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom

from headwater.core.errors import UserError
from headwater.data.io.decoding import PIXELS, frames_of, opened, refusing
from headwater.data.io.frames import IMAGE
from headwater.data.io.limits import MOST_FRAMES
from headwater.data.io.modality import rescales
from headwater.data.io.places import Place, places_of

DIRECTORY = "1.2.840.10008.1.3.10"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Beginning of the kinds of secondary captures, DICOM PS3.6 A."""

LEAST = 3
"""Slices below which those that do not fit the others of their series are no scan of their own."""

MOST_PLANES = 100
"""Planes of one series above which it is no stack but a fan, or a broken file."""

SAME_PLACE = 0.01
"""Millimetres within which two slices lie at one place."""

UNEVEN = 0.1
"""Share of a step by which a slice may lie beside its place in an even stack."""

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
"""What may tell slices at one place apart, such as phases of contrast, in this order."""


class Slice(NamedTuple):
    """One slice: a file, or a frame of one."""

    file: Path
    frame: int
    place: Place
    shape: tuple[int, int]
    instance: str
    told: tuple[str, ...]
    """the elements of APART, as text"""
    unit: str


class Series(NamedTuple):
    """Slices of one plane, size and spacing, in the order in which they lie along their normal."""

    name: str
    """the series' own identifier, or the folder if it has none; with #2 and so on where one series holds several"""
    modality: str
    description: str
    unit: str
    """HU where every slice tells how its values become Hounsfield units, else empty"""
    slices: tuple[Slice, ...]

    @property
    def positions(self) -> np.ndarray:
        """(slices, 3) in millimetres."""
        return np.array([one.place.position for one in self.slices])

    @property
    def heights(self) -> np.ndarray:
        """(slices,) millimetres along the normal."""
        return self.positions @ self.slices[0].place.normal

    @property
    def gaps(self) -> dict[float, int]:
        """How often each distance between neighbouring slices occurs, in millimetres to the third digit."""
        return dict(sorted(Counter(float(gap) for gap in np.diff(self.heights).round(3)).items()))

    @property
    def repeated(self) -> int:
        """How many slices lie where another lies, and nothing tells why."""
        return int((np.diff(self.heights) < SAME_PLACE).sum())

    @property
    def is_even(self) -> bool:
        """Whether the slices lie at even distances, none of them missing."""
        even = np.linspace(self.heights[0], self.heights[-1], len(self.slices))
        step = np.ptp(self.heights) / max(1, len(self.slices) - 1)
        return bool((abs(self.heights - even) <= UNEVEN * step).all())

    @property
    def offsets(self) -> np.ndarray:
        """(slices, 2): rows and columns by which each slice lies aside of the middle one."""
        place = self.slices[0].place
        aside = (self.positions - self.positions[len(self.slices) // 2]) @ place.orientation[::-1].T
        return aside / place.spacing

    @property
    def is_straight(self) -> bool:
        """Whether the slices lie behind each other, to a pixel."""
        return bool((np.ptp(self.offsets, axis=0) <= 1).all())

    @property
    def tilt(self) -> float:
        """Degrees between the normal and the line from the first slice to the last, as by a tilted gantry."""
        line = self.positions[-1] - self.positions[0]
        along = line @ self.slices[0].place.normal
        return float(np.degrees(np.arctan2(np.linalg.norm(line - along * self.slices[0].place.normal), along)))


class SetAside(NamedTuple):
    """A file, or a frame of it, that belongs to no scan, and why."""

    file: Path
    kind: str
    """unreadable, directory, no image, capture, localizer, no place, duplicate, or other plane"""
    reason: str


class Sorted(NamedTuple):
    """What a folder holds."""

    series: tuple[Series, ...]
    set_aside: tuple[SetAside, ...]


class _Image(NamedTuple):
    """What one file tells."""

    name: str
    modality: str
    description: str
    slices: list[Slice]


def sort_folder(folder: Path) -> Sorted:
    """The series of all files below a folder, and what was set aside; refused if there is no such folder."""
    if not folder.is_dir():
        raise UserError("is no folder", file=folder, remedy="name the folder that holds the DICOM files")
    return sort_files(sorted(path for path in folder.rglob("*") if path.is_file()))


def sort_files(files: Iterable[Path]) -> Sorted:
    """The series of these files, the longest of each identifier first, and what was set aside."""
    aside: list[SetAside] = []
    by_name: dict[str, list[_Image]] = defaultdict(list)
    for path in files:
        image = _looked_at(path)
        if isinstance(image, SetAside):
            aside.append(image)
        else:
            by_name[image.name].append(image)
    series = [one for images in by_name.values() for one in _series(images, aside)]
    return Sorted(tuple(series), tuple(sorted(aside, key=lambda one: (str(one.file), one.reason))))


def _looked_at(path: Path) -> _Image | SetAside:
    """What a file tells, or why it is no part of a scan."""
    try:
        with refusing(path, what=IMAGE):
            dataset = opened(path)
            kind, reason = _other_kind(dataset)
            return SetAside(path, kind, reason) if kind else _image(dataset, path)
    except UserError as refusal:
        return SetAside(path, "unreadable", str(refusal))


def _other_kind(dataset: pydicom.Dataset) -> tuple[str, str]:
    """Why a readable file is no slice; nothing if it may be one."""
    file_class = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    types = [str(word).upper() for word in np.atleast_1d(dataset.get("ImageType") or [])]
    if file_class == DIRECTORY or "DirectoryRecordSequence" in dataset:
        return "directory", "is a DICOMDIR, a list of files"
    if not any(name in dataset for name in PIXELS) or not dataset.get("Rows") or not dataset.get("Columns"):
        return "no image", "holds no pixels; it may be a report, a plan, or cut off"
    if file_class.startswith(CAPTURE):
        return "capture", "is a secondary capture, such as a saved screen"
    if not str(dataset.get("PhotometricInterpretation") or "MONOCHROME").startswith("MONOCHROME"):
        return "capture", "is in colour"
    if any("LOCALIZER" in word for word in types):
        return "localizer", "is a localizer"
    return "", ""


def _image(dataset: pydicom.Dataset, path: Path) -> _Image | SetAside:
    """The slices of a file that may be part of a scan."""
    frames = frames_of(dataset)
    if not 1 <= frames <= MOST_FRAMES:
        raise ValueError(f"claims {frames} frames")
    places = places_of(dataset, frames=frames)
    if not all(place.is_known for place in places):
        return SetAside(path, "no place", "does not tell where it lies in the patient")
    modality = _text(dataset, "Modality").upper()
    shape = (int(dataset.Rows), int(dataset.Columns))
    contents = dataset.get("PerFrameFunctionalGroupsSequence") or []
    slices = []
    for number, (place, rescale) in enumerate(zip(places, rescales(dataset, frames=frames), strict=True)):
        told = _told(contents[number] if number < len(contents) else pydicom.Dataset(), dataset)
        in_hounsfield = modality == "CT" and rescale is not None and rescale.unit in ("", "HU")
        unit = "HU" if in_hounsfield else ""
        slices.append(Slice(path, number, place, shape, _text(dataset, "SOPInstanceUID"), told, unit))
    name = _text(dataset, "SeriesInstanceUID") or str(path.parent)
    return _Image(name, modality, _text(dataset, "SeriesDescription"), slices)


def _told(groups: pydicom.Dataset, dataset: pydicom.Dataset) -> tuple[str, ...]:
    """The elements of APART of a frame, or of its file."""
    content = (groups.get("FrameContentSequence") or [pydicom.Dataset()])[0]
    return tuple(_text(content, name) or _text(dataset, name) for name in APART)


def _text(dataset: pydicom.Dataset, name: str) -> str:
    """An element as text, empty where it is not there."""
    told: Any = dataset.get(name)
    return "" if told is None else str(told).strip()


def _series(images: list[_Image], aside: list[SetAside]) -> Iterator[Series]:
    """The scans in the images of one identifier; what does not fit goes to `aside`."""
    slices = _once([one for image in images for one in image.slices], aside)
    planes = sorted(_planes(slices, aside), key=len, reverse=True)
    scans = []
    for number, plane in enumerate(planes):
        if number > 0 and len(plane) < LEAST:
            aside += [SetAside(one.file, "other plane", _how(one, planes[0])) for one in plane]
        else:
            scans += _apart(plane, aside)
    for number, scan in enumerate(sorted(scans, key=_by_content), start=1):
        ordered = _by_height(scan)
        name = images[0].name if number == 1 else f"{images[0].name}#{number}"
        unit = "HU" if all(one.unit == "HU" for one in scan) else ""
        yield Series(name, images[0].modality, images[0].description, unit, tuple(ordered))


def _by_content(scan: list[Slice]) -> tuple:
    """What a scan is numbered by among those of its series: what its images tell, never what its files are called."""
    first = _by_height(scan)[0]
    where = (*first.place.position.tolist(), *first.place.orientation.ravel().tolist())
    return -len(scan), first.told, where, first.shape, min(one.instance for one in scan)


def _once(slices: list[Slice], aside: list[SetAside]) -> list[Slice]:
    """The slices without those that are in two files under one identifier at one place."""
    seen: dict[tuple, Slice] = {}
    for one in slices:
        key = (one.instance, one.frame, one.shape, *one.place.position, *one.place.orientation.ravel())
        first = seen.setdefault(key, one) if one.instance else one
        if first is not one:
            aside.append(SetAside(one.file, "duplicate", f"is the same image as {first.file.name}"))
    kept = set(map(id, seen.values()))
    return [one for one in slices if not one.instance or id(one) in kept]


def _planes(slices: list[Slice], aside: list[SetAside]) -> list[list[Slice]]:
    """The slices by plane, size and spacing; what is of too many kinds goes to `aside`."""
    planes: list[list[Slice]] = []
    for one in slices:
        fitting = next((plane for plane in planes if not _differs(one, plane[0])), None)
        if fitting is not None:
            fitting.append(one)
        elif len(planes) < MOST_PLANES:
            planes.append([one])
        else:
            aside.append(SetAside(one.file, "other plane", f"is of one plane more than {MOST_PLANES} in its series"))
    return planes


def _differs(one: Slice, other: Slice) -> str:
    """How two slices differ so that they cannot be of one stack; nothing if they do not."""
    if one.shape != other.shape:
        return "another size"
    if abs(one.place.orientation - other.place.orientation).max() > 1e-3:
        return "another plane"
    if abs(one.place.spacing / other.place.spacing - 1).max() > 1e-3:
        return "another pixel spacing"
    return ""


def _how(one: Slice, plane: list[Slice]) -> str:
    """Why a slice is no part of the largest stack of its series."""
    return f"has {_differs(one, plane[0])} than the {len(plane)} slices of its series"


def _apart(plane: list[Slice], aside: list[SetAside]) -> list[list[Slice]]:
    """A stack as several where slices lie at one place and something tells them apart; copies go to `aside`."""
    if _most_at_one_place(plane) == 1:
        return [plane]
    plane = _unlike(plane, aside)
    many = _most_at_one_place(plane)
    for number in range(len(APART)):
        parts = list(_by(plane, key=lambda one, number=number: one.told[number]).values())
        # more parts than lie at one place are scans that overlap here and there, if each is a scan at all
        told = len(parts) == many or (len(parts) > many and min(map(len, parts)) >= LEAST)
        if many > 1 and told and all(_most_at_one_place(part) == 1 for part in parts):
            return parts
    return [plane]


def _by(slices: list[Slice], *, key: Callable[[Slice], Any]) -> dict[Any, list[Slice]]:
    """The slices by a key, in the order in which each key first comes."""
    groups: dict[Any, list[Slice]] = defaultdict(list)
    for one in slices:
        groups[key(one)].append(one)
    return groups


def _by_height(plane: list[Slice]) -> list[Slice]:
    """The slices in the order in which they lie along the normal."""
    normal = plane[0].place.normal
    return sorted(plane, key=lambda one: (float(one.place.position @ normal), str(one.file), one.frame))


def _most_at_one_place(plane: list[Slice]) -> int:
    """How many slices lie at the place at which most lie."""
    return max(len(group) for group in _crowds(plane))


def _crowds(plane: list[Slice]) -> list[list[Slice]]:
    """The slices by place, along the normal."""
    normal = plane[0].place.normal
    ordered = _by_height(plane)
    crowds = [[ordered[0]]]
    for one in ordered[1:]:
        near = (one.place.position - crowds[-1][0].place.position) @ normal < SAME_PLACE
        if near:
            crowds[-1].append(one)
        else:
            crowds.append([one])
    return crowds


def _unlike(plane: list[Slice], aside: list[SetAside]) -> list[Slice]:
    """The slices without those that hold the same values as another at their place."""
    lost, stored = set(), cache(_stored)
    for crowd in _crowds(plane):
        seen: dict[tuple[bytes, str], Slice] = {}
        for one in sorted(crowd, key=lambda one: str(one.file)) if len(crowd) > 1 else []:
            first = seen.setdefault(stored(one.file), one)
            # frames of one file are no copies of each other
            if first.file != one.file:
                aside.append(SetAside(one.file, "duplicate", f"is the same image as {first.file.name}"))
                lost.add(id(one))
    return [one for one in plane if id(one) not in lost]


def _stored(path: Path) -> tuple[bytes, str]:
    """The pixels of a file as they are stored, and what turns them into measured values."""
    with refusing(path, what=IMAGE):
        dataset = opened(path)
        pixels = bytes(next(dataset[name].value for name in PIXELS if name in dataset))
        return hashlib.blake2b(pixels).digest(), str(rescales(dataset, frames=1))
