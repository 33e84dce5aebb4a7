"""DICOM files of every awkward kind, made in code."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, Sequence, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from archives_made import write_dicom

AXIAL = (1, 0, 0, 0, 1, 0)


def hounsfield(number: int, *, shape: tuple[int, int] = (12, 10)) -> np.ndarray:
    """Stored values (value + 1024) of a slice that differs from number to number."""
    return np.random.default_rng(number).integers(0, 2000, shape, dtype=np.uint16)


def write_slice(path: Path, pixels: np.ndarray, *, position: tuple[float, ...], **tags: Any) -> Path:
    """One CT slice; tags overwrite or, by None, remove."""
    told = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"1.2.3.{zlib.crc32(f'{path.parent.name} {path.name} {position}'.encode())}",
        "SeriesInstanceUID": "1.2.3",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImagePositionPatient": [f"{value:.6g}" for value in position],
        "ImageOrientationPatient": list(AXIAL),
        "PixelSpacing": [0.5, 0.75],
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
    }
    kept = {name: value for name, value in told.items() if name not in tags}
    removed = {name: value for name, value in tags.items() if value is not None or name not in told}
    return write_dicom(path, pixels, **kept | removed)


def write_stack(folder: Path, positions: list[float], *, prefix: str = "", **tags: Any) -> list[Path]:
    """Axial slices at these heights, whose names run against them; slice n is `hounsfield(n)`."""
    written = []
    for number, height in enumerate(positions):
        path = folder / f"{prefix}{len(positions) - number:03d}.dcm"
        written.append(write_slice(path, hounsfield(number), position=(-10, -20, height), **tags))
    return written


def item(**elements: Any) -> Dataset:
    """A dataset with these elements; lists of datasets become sequences."""
    made = Dataset()
    for name, value in elements.items():
        sequence = isinstance(value, list) and value and isinstance(value[0], Dataset)
        setattr(made, name, Sequence(value) if sequence else value)
    return made


def write_enhanced(path: Path, stack: np.ndarray, *, heights: list[float], slopes: list[float], **tags: Any) -> Path:
    """An enhanced CT (frames, rows, columns) with a rescale of its own for each frame."""
    own = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[-10, -20, height])],
            PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=-1024, RescaleType="HU")],
        )
        for height, slope in zip(heights, slopes, strict=True)
    ]
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=list(AXIAL))],
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.75])],
    )
    told = {
        "SOPClassUID": EnhancedCTImageStorage,
        "SOPInstanceUID": "1.2.3.4",
        "SeriesInstanceUID": "1.2.4",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME"],
        "NumberOfFrames": len(stack),
        "Rows": stack.shape[1],
        "Columns": stack.shape[2],
        "PerFrameFunctionalGroupsSequence": Sequence(own),
        "SharedFunctionalGroupsSequence": Sequence([shared]),
    }
    return write_dicom(path, stack, **told | tags)


def pack(path: Path, *, syntax: str, streams: list[bytes]) -> Path:
    """The same file with these compressed frames in place of its pixels."""
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate(streams)
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path
