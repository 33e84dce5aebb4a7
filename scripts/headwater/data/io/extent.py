"""Extents of scans: the sides, the spacing and the axes of a volume, from headers alone."""

from pathlib import Path

import numpy as np
import pydicom

from headwater.core.errors import UserError
from headwater.data.io import nifti
from headwater.data.io.decoding import frames_of, opened, refusing
from headwater.data.io.folders import entries
from headwater.data.io.frames import IMAGE
from headwater.data.io.places import Place, places_of
from headwater.data.io.volumes import Volume

NIFTI = (".nii", ".nii.gz", ".hdr", ".img", ".mgh", ".mgz", ".mgh.gz")
"""How the names of volumes in one file end; all others are slices of DICOM."""


def extent(path: Path) -> Volume:
    """A volume whose voxels are all 0 and take no memory: of a NIfTI or MGH file, or of the DICOM files of a folder.

    Of DICOM one file is read, the first of the folder or `path` itself; as many slices are counted as files lie beside
    it, or as it has frames. Slices lie as far apart as its frames, else as SpacingBetweenSlices or SliceThickness say.
    """
    return nifti.outline(path) if path.name.endswith(NIFTI) else _of_slices(path)


def _of_slices(path: Path) -> Volume:
    """The extent of a series of which `path` is the folder or a file."""
    folder = path if path.is_dir() else path.parent
    beside = [entry for entry in entries(folder) if entry.is_file() and not entry.name.startswith(".")]
    if path.is_dir() and not beside:
        raise UserError("is an empty folder", file=path, remedy="fetch it again", nameless="is an empty folder")
    first = folder / beside[0].name if path.is_dir() else path
    with refusing(first, what=IMAGE):
        header = opened(first)
        frames = frames_of(header)
        places = places_of(header, frames=frames)
        place = places[0]
        if not place.is_known or not header.get("Rows") or not header.get("Columns"):
            what = "does not say how large its slices are or how they lie"
            raise UserError(what, file=first, remedy="fetch it again", nameless=what)
        step = _step(header, places)
        sides = (frames if frames > 1 else len(beside), int(header.Rows), int(header.Columns))
    affine = np.eye(4)
    axes = (place.normal * step, place.orientation[1] * place.spacing[0], place.orientation[0] * place.spacing[1])
    affine[:3, :3], affine[:3, 3] = np.transpose(axes), place.position
    return Volume(np.broadcast_to(np.float32(0), sides), affine, "")


def _step(header: pydicom.Dataset, places: list[Place]) -> float:
    """Millimetres between slices; those between pixels where a header says nothing of it."""
    if len(places) > 1 and places[1].position is not None:
        between = abs(float((places[1].position - places[0].position) @ places[0].normal))
    else:
        between = abs(float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 0))
    return between or float(places[0].spacing[0])
