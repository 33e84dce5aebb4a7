"""Reads NIfTI volumes, of either version and byte order, and FreeSurfer's MGH.

nibabel interprets the header. The voxels are read here, because nibabel allocates memory for whatever size a header
claims, before it knows whether the file holds as much.
"""

import gzip
import math
import textwrap
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from nibabel import Nifti1Header, Nifti2Header
from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.spatialimages import HeaderDataError

from headwater.core.errors import UserError, stop_if_disk
from headwater.data.io.folders import refuse_special
from headwater.data.io.limits import MOST_BYTES, MOST_VOXELS, PIECE, exactly
from headwater.data.io.volumes import Volume

KINDS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
"""NumPy types by NIfTI datatype, of those with one number per voxel."""

OTHER_KINDS = {
    1: "single bits",
    32: "complex numbers",
    128: "colours",
    1536: "floats of 128 bits",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "colours",
}
"""The other NIfTI datatypes, in words."""

MGH_KINDS = {0: "u1", 1: "i4", 3: "f4", 4: "i2"}
"""NumPy types by MGH type."""

MILLIMETRES = {1: 1000.0, 3: 0.001}
"""Millimetres per unit, by the NIfTI code of metres (1) and microns (3); any other code is taken for millimetres."""

MOST_EXTENSION = 2**24
"""Most bytes between header and voxels."""

MOST_UNPACKED = 2**32
"""Most bytes of all volumes of a file together, decompressed."""

FARTHEST = 1e7
"""Millimetres above which a coordinate is taken for broken."""

BROKEN = (OSError, EOFError, ValueError, LookupError, ArithmeticError, MemoryError, zlib.error, HeaderDataError)
"""What Python, NumPy and nibabel raise on volumes that are cut off or damaged."""

NIFTI = {header.sizeof_hdr: header for header in (Nifti1Header, Nifti2Header)}
"""nibabel's class for each version, by the header length (sizeof_hdr) that a file begins with."""

MGH_LENGTH = 284
"""Bytes before the voxels of an MGH file."""


class Header(NamedTuple):
    """What a header states about the voxels."""

    shape: tuple[int, int, int]
    """along i, j and k"""
    volumes: int
    kind: np.dtype
    start: int
    """byte at which the voxels begin"""
    affine: np.ndarray
    """(4, 4): from (i, j, k, 1) to millimetres that grow to the right, front and head (RAS)"""
    slope: float = 1.0
    intercept: float = 0.0
    has_image_file: bool = False
    """whether the voxels are in an .img file next to the .hdr file"""


def read_nifti(path: Path, *, number: int | None = None, fill: float | None = None) -> Volume:
    """One volume of a file with the axes (k, j, i) as stored; `Volume.turned` reorients it.

    The affine is the sform, else the qform; a file with neither is refused. `number` selects one of several volumes,
    counted from 0; without it a file of several is refused. `fill` replaces values that are not finite; without it they
    are refused.
    """
    with _refusing(path):
        header = read_header(path)
        voxels = _voxels(path, header, number=_chosen(path, header, number=number))
        _fill(voxels, path, fill=fill)
        return Volume(voxels.reshape(header.shape[::-1]), _to_patient(header), "")


def outline(path: Path) -> Volume:
    """A volume of a file from its header alone: its affine, and voxels that are all 0 and take no memory."""
    header = read_header(path)
    return Volume(np.broadcast_to(np.float32(0), header.shape[::-1]), _to_patient(header), "")


def _to_patient(header: Header) -> np.ndarray:
    """(4, 4): from (k, j, i, 1) to millimetres that grow to the left, back and head (LPS, as in DICOM)."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ header.affine[:, [2, 1, 0, 3]]


def read_header(path: Path) -> Header:
    """The header of a NIfTI or MGH file; refused if it makes no sense."""
    with _refusing(path):
        with _opened(path) as stream:
            start = exactly(stream, 4)
            if path.name.endswith((".mgz", ".mgh", ".mgh.gz")):
                return _mgh_header(start + exactly(stream, MGH_LENGTH - 4))
            # the byte order is the one in which the length of the header comes out right
            for order in "<>":
                length = int(np.frombuffer(start, f"{order}i4")[0])
                if length in NIFTI:
                    content = start + exactly(stream, length - 4)
                    return _nifti_header(NIFTI[length](content, endianness=order, check=False), path=path)
        raise UserError("is not a NIfTI file", file=path, remedy="fetch it again", nameless="is not a NIfTI file")


def _nifti_header(raw: Nifti1Header, *, path: Path) -> Header:
    """A NIfTI header, checked."""
    magic = bytes(raw["magic"])[:3]
    has_image_file = magic in (b"ni1", b"ni2")
    if not has_image_file and magic not in (b"n+1", b"n+2"):
        raise ValueError("has no NIfTI magic; Analyze files have no orientation")
    axes = int(raw["dim"][0])
    sides = [int(side) for side in raw["dim"][1 : axes + 1]]
    if not 1 <= axes <= 7 or min(sides) < 1:
        raise ValueError(f"states {sides} voxels along {axes} axes")
    datatype = int(raw["datatype"])
    if datatype not in KINDS:
        kind = OTHER_KINDS.get(datatype, f"an unknown kind ({datatype})")
        raise UserError(f"holds {kind}", file=path, remedy="convert it to grey values", nameless=f"holds {kind}")
    start = float(raw["vox_offset"])
    # in a single file the voxels follow the header and four bytes that announce extensions
    least = 0 if has_image_file else raw.sizeof_hdr + 4
    if not math.isfinite(start) or not least <= start <= MOST_EXTENSION:
        raise ValueError(f"has vox_offset {start:g}")
    slope, intercept = raw.get_slope_inter()
    # nibabel gives None where scl_slope is 0, which means no rescale
    slope, intercept = (1.0, 0.0) if slope is None else (slope, intercept)
    shape = (*sides[:3], *[1] * (3 - len(sides)))
    affine = _affine(raw, path=path)
    return _checked(
        Header(shape, math.prod(sides[3:]), raw.get_data_dtype(), int(start), affine, slope, intercept, has_image_file)
    )


def _affine(raw: Nifti1Header, *, path: Path) -> np.ndarray:
    """The affine (4, 4) of a NIfTI header, in millimetres."""
    if raw["sform_code"] > 0:
        affine = raw.get_sform().astype(float)
    elif raw["qform_code"] > 0:
        affine = _qform(raw)
    else:
        missing = "has no orientation (neither sform nor qform)"
        raise UserError(missing, file=path, remedy="set one of them, or take it off the list", nameless=missing)
    # the lowest three bits hold the unit of space, the others that of time
    affine[:3] *= MILLIMETRES.get(int(raw["xyzt_units"]) & 7, 1.0)
    return affine


def _qform(raw: Nifti1Header) -> np.ndarray:
    """The affine of a qform: quaternion, offsets and pixdim."""
    if (raw["pixdim"][1:4] <= 0).any():
        raise ValueError("has a pixdim that is not positive")
    # qfac: nibabel accepts 1 and -1 only, but a header may have 0, which means 1
    raw["pixdim"][0] = -1 if raw["pixdim"][0] < 0 else 1
    try:
        # nibabel raises where the three numbers are longer than a unit quaternion
        affine = raw.get_qform()
    except ValueError:
        affine = np.full((4, 4), np.nan)
    if not np.isfinite(affine[:, :3]).all():
        raise ValueError("has an invalid quaternion")
    return affine


def _mgh_header(content: bytes) -> Header:
    """An MGH header, checked."""
    raw = MGHHeader(content, check=False)
    if not int.from_bytes(content[28:30], "big"):
        # without goodRASFlag FreeSurfer assumes coronal slices; nibabel assumes other axes
        raw["Mdc"] = [[-1, 0, 0], [0, 0, -1], [0, 1, 0]]
    if raw["version"] != 1 or int(raw["type"]) not in MGH_KINDS:
        raise ValueError(f"has version {raw['version']} and type {raw['type']}")
    sides = [int(side) for side in raw["dims"]]
    if min(sides) < 1:
        raise ValueError(f"states {sides[:3]} voxels")
    kind = np.dtype(f">{MGH_KINDS[int(raw['type'])]}")
    return _checked(Header(tuple(sides[:3]), sides[3], kind, MGH_LENGTH, raw.get_affine().astype(float)))


def _checked(header: Header) -> Header:
    """The header, if its size is plausible and its affine can be inverted."""
    count = math.prod(header.shape)
    size = count * header.kind.itemsize
    if count > MOST_VOXELS or size > MOST_BYTES or size * header.volumes > MOST_UNPACKED:
        raise ValueError(f"states {header.shape} voxels in {header.volumes} volumes")
    if not (abs(header.affine) < FARTHEST).all():
        raise ValueError("has an invalid affine: not finite, or huge")
    lengths = np.linalg.norm(header.affine[:3, :3], axis=0)
    if not 1e-4 < lengths.min() <= lengths.max() < 1e4:
        raise ValueError("has an invalid affine: an axis of no length")
    if abs(np.linalg.det(header.affine[:3, :3] / lengths)) < 1e-2:
        raise ValueError("has an invalid affine: its axes lie in one plane")
    if not math.isfinite(header.intercept):
        raise ValueError("has a scl_inter that is not finite")
    return header


def _chosen(path: Path, header: Header, *, number: int | None) -> int:
    """The number of the volume that is asked for, or of the only one."""
    if number is None and header.volumes > 1:
        remedy = f"say which: 0 to {header.volumes - 1}"
        raise UserError(f"holds {header.volumes} volumes", file=path, remedy=remedy, nameless="holds several volumes")
    if not 0 <= (number or 0) < header.volumes:
        raise UserError(f"has no volume {number}", file=path, remedy=f"it holds {header.volumes}, counted from 0")
    return number or 0


def _voxels(path: Path, header: Header, *, number: int) -> np.ndarray:
    """The values of one volume after slope and intercept: float32 (voxels,)."""
    # a pair: name.hdr and name.img, both maybe with .gz
    data = path.with_name(path.name.replace(".hdr", ".img")) if header.has_image_file else path
    size = math.prod(header.shape) * header.kind.itemsize
    with _opened(data) as stream:
        _skip(stream, header.start + number * size)
        stored = np.frombuffer(exactly(stream, size), header.kind)
    voxels = np.empty(len(stored), np.float32)
    # values beyond float32 become infinite and are refused or filled afterwards
    with np.errstate(over="ignore", invalid="ignore"):
        # piece by piece, because the product is in double precision and would take twice the memory
        for start in range(0, len(stored), PIECE):
            piece = slice(start, start + PIECE)
            plain = header.slope == 1 and header.intercept == 0
            voxels[piece] = stored[piece] if plain else stored[piece] * header.slope + header.intercept
    return voxels


def _skip(stream: BinaryIO, count: int) -> None:
    """Skip so many bytes by reading them; seeking would not notice that the file ends before."""
    for start in range(0, count, PIECE):
        exactly(stream, min(PIECE, count - start))


def _fill(voxels: np.ndarray, path: Path, *, fill: float | None) -> None:
    """Replace values that are not finite by `fill`, or refuse them."""
    holes = ~np.isfinite(voxels)
    if not holes.any():
        return
    if fill is None:
        raise UserError(
            f"has {int(holes.sum())} voxels that are not finite",
            file=path,
            remedy="give a value for them (fill), or take it off the list",
            nameless="has voxels that are not finite",
        )
    voxels[holes] = fill


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file as a stream of bytes, decompressed if it is gzip, whatever its name."""
    refuse_special(path)
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not is_gzip:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as stream:
            yield stream


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn what a broken file raises into a UserError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        remedy = "fetch it, or take it off the list"
        raise UserError("is not there", file=error.filename, remedy=remedy, nameless="is not there") from None
    except BROKEN as error:
        stop_if_disk(error, file=path)
        reason = textwrap.shorten(str(error).replace(str(path), "file"), 200) or type(error).__name__
        broken = "is not a readable volume"
        raise UserError(f"{broken}: {reason}", file=path, remedy="fetch it again", nameless=broken) from None
