"""Outline files: the structures that a network outlines, as NIfTI files on the grids of the sources."""

from pathlib import Path

import numpy as np

from headwater.core import files
from headwater.data import store
from headwater.data.io.nifti_writing import write_volume
from headwater.study.paths import outlines_of
from headwater.training.reading.volumes import Keep

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From millimetres that grow to the left and back, as volumes have them, to NIfTI's, to the right and front."""


def writer(data: store.Prepared, predictions: Path) -> Keep:
    """What writes each predicted label map, beside the predictions: 1 is the first label of the target, 2 the second.

    Axes are those of the source turned to RAS, so voxels lie where they were. No file holds anything but the map and
    its place; its name is the case's.
    """
    names = data.cases["case"].to_numpy()

    def write(row: int, target: str, drawn: np.ndarray) -> None:
        path = outlines_of(predictions, target=target, case=names[row])
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.whole(path) as temporary:
            write_volume(drawn, temporary, affine=TO_RAS @ data.images.affine(row))

    return write
