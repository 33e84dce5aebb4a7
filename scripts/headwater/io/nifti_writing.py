"""Writes a volume as a NIfTI file, for the synthetic archives."""

import gzip
from pathlib import Path

import numpy as np

from headwater.io.nifti import NIFTI_1


def write_nifti(
    voxels: np.ndarray, path: Path, *, spacing: tuple[float, float, float], from_head: bool = False
) -> None:
    """A volume int16 (slices, rows, columns) whose slices lie in the file from the feet to the head, or the other way.

    Slices grow to the head, rows to the back, columns to the left; `spacing` in millimetres in that order. Packed if
    its name says so; the same arguments give the same bytes.
    """
    step, down, across = spacing
    header = np.zeros((), NIFTI_1.newbyteorder("<"))
    header["dim"] = [3, *voxels.shape[::-1], 1, 1, 1, 1]
    header["datatype"], header["vox_offset"], header["slope"] = 4, 352, 1
    header["pixdim"] = [1, across, down, step, 1, 1, 1, 1]
    header["units"], header["sform"], header["magic"] = 2, 1, b"n+1"
    top = (len(voxels) - 1) * step
    header["rows"] = [[-across, 0, 0, 0], [0, -down, 0, 0], [0, 0, -step if from_head else step, top * from_head]]
    content = bytearray(header.tobytes() + b"\0" * 4)
    content[:4] = (348).to_bytes(4, "little")
    content[70 + 2 : 70 + 4] = (16).to_bytes(2, "little")
    content += (voxels[::-1] if from_head else voxels).astype("<i2").tobytes()
    # without the time of day that a packed file else bears
    path.write_bytes(gzip.compress(bytes(content), mtime=0) if path.suffix == ".gz" else bytes(content))
