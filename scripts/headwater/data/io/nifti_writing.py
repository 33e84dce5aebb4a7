"""Writes a volume as a NIfTI file: for the synthetic archives, and for masks that a network predicts."""

import gzip
from pathlib import Path

import numpy as np
from nibabel import Nifti1Image


def write_nifti(
    voxels: np.ndarray, path: Path, *, spacing: tuple[float, float, float], from_head: bool = False
) -> None:
    """A volume int16 (slices, rows, columns), stored from the feet to the head or, with `from_head`, the other way.

    Slices grow to the head, rows to the back, columns to the left; `spacing` in millimetres in that order. Compressed
    if its name ends in .gz; the same arguments give the same bytes.
    """
    step, down, across = spacing
    top = (len(voxels) - 1) * step
    affine = np.diag([-across, -down, -step if from_head else step, 1.0])
    affine[2, 3] = top * from_head
    write_volume((voxels[::-1] if from_head else voxels).astype("<i2").T, path, affine=affine)


def write_volume(voxels: np.ndarray, path: Path, *, affine: np.ndarray) -> None:
    """Voxels of any type (i, j, k); `affine` (4, 4) takes (i, j, k, 1) to millimetres that grow to the right, the front
    and the head (RAS).

    Compressed if its name ends in .gz; the same arguments give the same bytes.
    """
    image = Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(None, code=0)
    content = image.to_bytes()
    # gzip would otherwise write the time into the file
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
