"""Reads volumes as researchers share them: NIfTI, of either version and byte order, and FreeSurfer's MGH.

nibabel says what a header means. The voxels are read here: nothing is set aside for what a header claims before the
file is seen to hold it.
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

from headwater.core.errors import UserError
from headwater.data.io.limits import MOST_BYTES, MOST_VOXELS, PIECE, exactly
from headwater.data.io.volumes import Volume

KINDS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
"""Data types of NIfTI whose voxels are one number each."""

OTHER_KINDS = {
    1: "single bits",
    32: "complex numbers",
    128: "colours",
    1536: "floats of 128 bits",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "colours",
}
MGH_KINDS = {0: "u1", 1: "i4", 3: "f4", 4: "i2"}

MILLIMETRES = {1: 1000.0, 3: 0.001}
"""Of a metre and of a micron, as NIfTI numbers its units; all others are taken for millimetres."""

MOST_EXTENSION = 2**24
"""Bytes before the voxels above which a header is taken for broken."""

MOST_UNPACKED = 2**32
"""Bytes of all volumes of a file together above which it is refused."""

FARTHEST = 1e7
"""Millimetres beyond which nothing lies."""

BROKEN = (OSError, EOFError, ValueError, LookupError, ArithmeticError, MemoryError, zlib.error, HeaderDataError)


NIFTI = {header.sizeof_hdr: header for header in (Nifti1Header, Nifti2Header)}
"""What nibabel reads a header as, by the length that the header tells first."""

MGH_LENGTH = 284
"""Bytes before the voxels of an MGH file."""


class Header(NamedTuple):
    """What a header says of the voxels."""

    shape: tuple[int, int, int]
    """along i, j and k"""
    volumes: int
    kind: np.dtype
    start: int
    """where the voxels begin in their file"""
    affine: np.ndarray
    """(4, 4): from (i, j, k, 1) to millimetres that grow to the right, the front and the head (RAS)"""
    slope: float = 1.0
    intercept: float = 0.0
    apart: bool = False
    """whether the voxels lie in an .img file beside"""


def read_nifti(path: Path, *, number: int | None = None, fill: float | None = None) -> Volume:
    """One volume of a file, its axes (k, j, i) in the file's order; `turned` makes volumes face one way.

    Where it lies is what the sform says, else the qform; refused if there is neither. `number`: which of several
    volumes, counted from 0; refused if there are several and none is named. `fill`: what shall stand where a value is
    no number; refused if there are such and nothing is said.
    """
    with _refusing(path):
        header = read_header(path)
        voxels = _voxels(path, header, number=_chosen(path, header, number=number))
        _fill(voxels, path, fill=fill)
        return Volume(voxels.reshape(header.shape[::-1]), _to_patient(header), "")


def outline(path: Path) -> Volume:
    """A volume of a file as far as its header tells: its place, and one value for all voxels, which takes no room."""
    header = read_header(path)
    return Volume(np.broadcast_to(np.float32(0), header.shape[::-1]), _to_patient(header), "")


def _to_patient(header: Header) -> np.ndarray:
    """(4, 4): from (k, j, i, 1) to millimetres that grow to the left, the back and the head."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ header.affine[:, [2, 1, 0, 3]]


def read_header(path: Path) -> Header:
    """What a NIfTI or MGH file says of itself; refused if that makes no sense."""
    with _refusing(path):
        with _opened(path) as stream:
            start = exactly(stream, 4)
            if path.name.endswith((".mgz", ".mgh", ".mgh.gz")):
                return _of_mgh(start + exactly(stream, MGH_LENGTH - 4))
            for order in "<>":
                length = int(np.frombuffer(start, f"{order}i4")[0])
                if length in NIFTI:
                    content = start + exactly(stream, length - 4)
                    return _of_nifti(NIFTI[length](content, endianness=order, check=False), path=path)
        raise UserError("is no NIfTI", file=path, remedy="fetch it again", nameless="is no NIfTI")


def _of_nifti(told: Nifti1Header, *, path: Path) -> Header:
    """What a NIfTI header says."""
    magic = bytes(told["magic"])[:3]
    apart = magic in (b"ni1", b"ni2")
    if not apart and magic not in (b"n+1", b"n+2"):
        raise ValueError("has no mark of NIfTI; an Analyze file tells no orientation")
    axes = int(told["dim"][0])
    sides = [int(side) for side in told["dim"][1 : axes + 1]]
    if not 1 <= axes <= 7 or min(sides) < 1:
        raise ValueError(f"claims {sides} voxels along {axes} axes")
    datatype = int(told["datatype"])
    if datatype not in KINDS:
        kind = OTHER_KINDS.get(datatype, f"an unknown kind ({datatype})")
        raise UserError(f"holds {kind}", file=path, remedy="convert it to grey values", nameless=f"holds {kind}")
    start = float(told["vox_offset"])
    # in one file the voxels come after the header and its four bytes of extensions
    least = 0 if apart else told.sizeof_hdr + 4
    if not math.isfinite(start) or not least <= start <= MOST_EXTENSION:
        raise ValueError(f"claims voxels at byte {start:g}")
    slope, intercept = told.get_slope_inter()
    slope, intercept = (1.0, 0.0) if slope is None else (slope, intercept)
    shape = (*sides[:3], *[1] * (3 - len(sides)))
    affine = _affine(told, path=path)
    return _checked(
        Header(shape, math.prod(sides[3:]), told.get_data_dtype(), int(start), affine, slope, intercept, apart)
    )


def _affine(told: Nifti1Header, *, path: Path) -> np.ndarray:
    """Where the voxels of a NIfTI lie, in millimetres."""
    if told["sform_code"] > 0:
        affine = told.get_sform().astype(float)
    elif told["qform_code"] > 0:
        affine = _turned(told)
    else:
        lost = "does not tell how it lies in the patient (no sform, no qform)"
        raise UserError(lost, file=path, remedy="set one of them, or take it off the list", nameless=lost)
    affine[:3] *= MILLIMETRES.get(int(told["xyzt_units"]) & 7, 1.0)
    return affine


def _turned(told: Nifti1Header) -> np.ndarray:
    """The affine that a quaternion and steps stand for."""
    if (told["pixdim"][1:4] <= 0).any():
        raise ValueError("claims voxels without a size")
    # any other number than -1 stands for 1
    told["pixdim"][0] = -1 if told["pixdim"][0] < 0 else 1
    try:
        affine = told.get_qform()
    except ValueError:
        affine = np.full((4, 4), np.nan)
    if not np.isfinite(affine[:, :3]).all():
        raise ValueError("is turned by what is no quaternion")
    return affine


def _of_mgh(content: bytes) -> Header:
    """What an MGH header says."""
    told = MGHHeader(content, check=False)
    if not int.from_bytes(content[28:30], "big"):
        # one that tells no place lies as FreeSurfer says then, which nibabel has otherwise
        told["Mdc"] = [[-1, 0, 0], [0, 0, -1], [0, 1, 0]]
    if told["version"] != 1 or int(told["type"]) not in MGH_KINDS:
        raise ValueError(f"claims version {told['version']} and a kind of {told['type']}")
    sides = [int(side) for side in told["dims"]]
    if min(sides) < 1:
        raise ValueError(f"claims {sides[:3]} voxels")
    kind = np.dtype(f">{MGH_KINDS[int(told['type'])]}")
    return _checked(Header(tuple(sides[:3]), sides[3], kind, MGH_LENGTH, told.get_affine().astype(float)))


def _checked(header: Header) -> Header:
    """The header, if its size is within reason and its axes span a space."""
    count = math.prod(header.shape)
    size = count * header.kind.itemsize
    if count > MOST_VOXELS or size > MOST_BYTES or size * header.volumes > MOST_UNPACKED:
        raise ValueError(f"claims {header.shape} voxels in {header.volumes} volumes")
    if not (abs(header.affine) < FARTHEST).all():
        raise ValueError("lies nowhere: what places it is no number, or a huge one")
    lengths = np.linalg.norm(header.affine[:3, :3], axis=0)
    if not 1e-4 < lengths.min() <= lengths.max() < 1e4:
        raise ValueError("lies nowhere: its axes have no length")
    if abs(np.linalg.det(header.affine[:3, :3] / lengths)) < 1e-2:
        raise ValueError("lies nowhere: its axes are not three")
    if not math.isfinite(header.intercept):
        raise ValueError("has an intercept that is no number")
    return header


def _chosen(path: Path, header: Header, *, number: int | None) -> int:
    """The volume that is asked for, or the only one."""
    if number is None and header.volumes > 1:
        remedy = f"say which: 0 to {header.volumes - 1}"
        raise UserError(f"holds {header.volumes} volumes", file=path, remedy=remedy, nameless="holds several volumes")
    if not 0 <= (number or 0) < header.volumes:
        raise UserError(f"has no volume {number}", file=path, remedy=f"it holds {header.volumes}, counted from 0")
    return number or 0


def _voxels(path: Path, header: Header, *, number: int) -> np.ndarray:
    """The values of one volume, float32 (voxels,), in what was measured."""
    data = path.with_name(path.name.replace(".hdr", ".img")) if header.apart else path
    size = math.prod(header.shape) * header.kind.itemsize
    with _opened(data) as stream:
        _skip(stream, header.start + number * size)
        stored = np.frombuffer(exactly(stream, size), header.kind)
    voxels = np.empty(len(stored), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(stored), PIECE):
            piece = slice(start, start + PIECE)
            plain = header.slope == 1 and header.intercept == 0
            voxels[piece] = stored[piece] if plain else stored[piece] * header.slope + header.intercept
    return voxels


def _skip(stream: BinaryIO, count: int) -> None:
    """Pass over so many bytes."""
    for start in range(0, count, PIECE):
        exactly(stream, min(PIECE, count - start))


def _fill(voxels: np.ndarray, path: Path, *, fill: float | None) -> None:
    """Put `fill` where a value is no number."""
    holes = ~np.isfinite(voxels)
    if not holes.any():
        return
    if fill is None:
        raise UserError(
            f"has {int(holes.sum())} voxels that are no numbers",
            file=path,
            remedy="say what shall stand there (fill), or take it off the list",
            nameless="has voxels that are no numbers",
        )
    voxels[holes] = fill


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file as a stream of bytes, unpacked if it is packed, whatever its name says."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as stream:
            yield stream


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn what a broken file leads to into a refusal that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError("is not there", file=error.filename, remedy="fetch it, or take it off the list") from None
    except BROKEN as error:
        reason = textwrap.shorten(str(error).replace(str(path), "file"), 200) or type(error).__name__
        broken = "is no readable volume"
        raise UserError(f"{broken}: {reason}", file=path, remedy="fetch it again", nameless=broken) from None
