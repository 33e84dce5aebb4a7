"""NIfTI and MGH files of every awkward kind, made in code from the published offsets."""

import gzip
import struct
from pathlib import Path

import numpy as np

CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}


def write_nifti(
    path: Path,
    values: np.ndarray,
    *,
    affine: np.ndarray | None = None,
    version: int = 1,
    order: str = "<",
    quaternion: tuple[float, float, float] | None = None,
    mirrored: bool = False,
    slope: float = 1.0,
    intercept: float = 0.0,
    units: int = 2,
    datatype: int | None = None,
    dim: list[int] | None = None,
    start: int | None = None,
    magic: bytes | None = None,
) -> Path:
    """Values (i, j, k[, volumes]) as a NIfTI; with a `quaternion`, the affine's steps and shift and no sform."""
    affine = np.eye(4) if affine is None else affine
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    size = {1: 348, 2: 540}[version]
    dim = dim or [values.ndim, *values.shape]
    dim = dim + [1] * (8 - len(dim))
    code = CODES[values.dtype.str[1:]] if datatype is None else datatype
    start = size + 4 if start is None else start
    pixdim = [-1.0 if mirrored else 1.0, *steps, 1, 1, 1, 1]
    forms = (1, 0) if quaternion is not None else (0, 2)
    header = bytearray(size + 4)
    if version == 1:
        places = {0: ("i", [348]), 40: ("8h", dim), 70: ("h", [code]), 76: ("8f", pixdim), 123: ("B", [units])}
        places |= {108: ("3f", [start, slope, intercept]), 252: ("2h", forms), 256: ("3f", quaternion or (0, 0, 0))}
        places |= {268: ("3f", affine[:3, 3]), 280: ("12f", affine[:3].ravel()), 344: ("4s", [magic or b"n+1\0"])}
    else:
        places = {0: ("i", [540]), 4: ("8s", [magic or b"n+2\0\r\n\x1a\n"]), 12: ("h", [code]), 16: ("8q", dim)}
        places |= {104: ("8d", pixdim), 168: ("q", [start]), 176: ("2d", [slope, intercept]), 344: ("2i", forms)}
        places |= {352: ("3d", quaternion or (0, 0, 0)), 376: ("3d", affine[:3, 3]), 400: ("12d", affine[:3].ravel())}
        places |= {500: ("i", [units])}
    for place, (form, told) in places.items():
        struct.pack_into(order + form, header, place, *told)
    stored = values.astype(values.dtype.newbyteorder(order)).tobytes(order="F")
    return packed(path, bytes(header[:start]).ljust(start, b"\0") + stored)


def write_mgh(path: Path, values: np.ndarray, *, affine: np.ndarray | None) -> Path:
    """Values (i, j, k, volumes) as an MGH file."""
    header = bytearray(284)
    code = {"u1": 0, "i4": 1, "f4": 3, "i2": 4}[values.dtype.str[1:]]
    struct.pack_into(">7i", header, 0, 1, *values.shape, code, 0)
    if affine is not None:
        steps = np.linalg.norm(affine[:3, :3], axis=0)
        centre = affine[:3, :3] @ (np.array(values.shape[:3]) / 2) + affine[:3, 3]
        struct.pack_into(">h15f", header, 28, 1, *steps, *(affine[:3, :3] / steps).T.ravel(), *centre)
    return packed(path, bytes(header) + values.astype(values.dtype.newbyteorder(">")).tobytes(order="F"))


def packed(path: Path, content: bytes) -> Path:
    """A file, gzipped where its name says so."""
    path.write_bytes(gzip.compress(content) if path.suffix in (".gz", ".mgz") else content)
    return path
