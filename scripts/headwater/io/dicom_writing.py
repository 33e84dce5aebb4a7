"""Writes a radiograph as a DICOM file, for the synthetic archives."""

import hashlib
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian


def write_radiograph(
    pixels: np.ndarray,
    path: Path,
    *,
    bits_stored: int,
    inverted: bool = False,
    window: tuple[float, float] | None = None,
    sex: str | None = None,
    age: int | None = None,
) -> None:
    """A digital radiograph, uncompressed; the same arguments and file name give the same bytes.

    `pixels`: uint16 (height, width), the stored values. `inverted`: MONOCHROME1, low values are bright. `window`:
    centre and width in stored values. `sex` and `age` may be empty or, by None, not there at all.
    """
    height, width = pixels.shape
    header = FileMetaDataset()
    header.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    header.MediaStorageSOPInstanceUID = _identifier("image", path.stem)
    header.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(path, {}, file_meta=header, preamble=b"\0" * 128)
    file.SOPClassUID = header.MediaStorageSOPClassUID
    file.SOPInstanceUID = header.MediaStorageSOPInstanceUID
    file.StudyInstanceUID = _identifier("study", path.stem)
    file.SeriesInstanceUID = _identifier("series", path.stem)
    file.Modality = "DX"
    file.PatientID = ""
    if sex is not None:
        file.PatientSex = sex
    if age is not None:
        file.PatientAge = f"{age:03d}Y"
    file.Rows, file.Columns = height, width
    file.SamplesPerPixel = 1
    file.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, bits_stored, bits_stored - 1
    file.PixelRepresentation = 0
    file.RescaleIntercept, file.RescaleSlope, file.RescaleType = 0, 1, "US"
    if window is not None:
        file.WindowCenter, file.WindowWidth = window
    file.PixelData = pixels.astype("<u2").tobytes()
    pydicom.dcmwrite(path, file, enforce_file_format=True)


def _identifier(kind: str, name: str) -> str:
    """A DICOM identifier that follows from a name; the root 2.25 takes any 128-bit number."""
    return f"2.25.{int.from_bytes(hashlib.sha256(f'{kind}/{name}'.encode()).digest()[:16], 'big')}"
