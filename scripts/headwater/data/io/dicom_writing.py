"""Writes a radiograph, or a slice of CT or MR, as a DICOM file, for the synthetic archives."""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, MRImageStorage


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
    centre and width in stored values. With None, the elements of `sex` and `age` are absent.
    """
    file = _header(path, kind=DigitalXRayImageStorageForPresentation, image=identifier("image", path.stem))
    file.StudyInstanceUID = identifier("study", path.stem)
    file.SeriesInstanceUID = identifier("series", path.stem)
    file.Modality = "DX"
    file.PatientID = ""
    if sex is not None:
        file.PatientSex = sex
    if age is not None:
        file.PatientAge = f"{age:03d}Y"
    file.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    file.RescaleIntercept, file.RescaleSlope, file.RescaleType = 0, 1, "US"
    if window is not None:
        file.WindowCenter, file.WindowWidth = window
    _fill(file, pixels, bits_stored=bits_stored)
    pydicom.dcmwrite(path, file, enforce_file_format=True)


def write_slice(
    hounsfield: np.ndarray,
    path: Path,
    *,
    patient: str,
    study: str,
    series: str,
    position: tuple[float, float, float],
    spacing: tuple[float, float],
    number: int,
    **elements: str,
) -> None:
    """One axial slice of a CT, int16 (rows, columns) in Hounsfield units, uncompressed, stored as value + 1024.

    `position` of its first pixel and `spacing` of rows and columns in millimetres. `elements`: further ones by name,
    such as PatientSex. The same arguments give the same bytes.
    """
    file = _header(path, kind=CTImageStorage, image=identifier("image", f"{series} {position}"))
    file.Modality, file.ImageType, file.InstanceNumber = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], number
    _place(file, position=position, orientation=(1, 0, 0, 0, 1, 0), spacing=spacing)
    file.RescaleIntercept, file.RescaleSlope, file.RescaleType = -1024, 1, "HU"
    # CT scanners store values from 0 on, with an intercept of -1024 for air
    _fill(file, hounsfield + np.int16(1024), bits_stored=16)
    _write(file, path, PatientID=patient, StudyInstanceUID=study, SeriesInstanceUID=series, **elements)


def write_mr_series(
    stored: np.ndarray,
    paths: Sequence[Path],
    *,
    patient: str,
    study: str,
    series: str,
    positions: np.ndarray,
    orientation: Sequence[float],
    spacing: tuple[float, float],
    **elements: str,
) -> None:
    """A series of MR in any plane, uint16 (slices, rows, columns) of 12 bits, uncompressed and without a rescale.

    A file for each slice. `positions` (slices, 3) of their first pixels and `spacing` of rows and columns in
    millimetres; `orientation`: the unit vectors along rows and columns, as in ImageOrientationPatient. `elements`:
    further ones by name. The same arguments give the same bytes.
    """
    file = _header(paths[0], kind=MRImageStorage, image="")
    file.Modality, file.ImageType = "MR", ["ORIGINAL", "PRIMARY", "M", "ND"]
    elements |= {"PatientID": patient, "StudyInstanceUID": study, "SeriesInstanceUID": series}
    # one header for all slices, as making it is a good part of the time
    for number, (pixels, path, position) in enumerate(zip(stored, paths, positions, strict=True), start=1):
        image = identifier("image", f"{series} {number}")
        file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = image
        file.InstanceNumber = number
        if number == 1:
            _place(file, position=position, orientation=orientation, spacing=spacing)
            _fill(file, pixels, bits_stored=12)
        file.ImagePositionPatient = [f"{value:.6g}" for value in position]
        file.PixelData = pixels.astype("<u2").tobytes()
        _write(file, path, **elements if number == 1 else {})


def _place(
    file: FileDataset, *, position: Sequence[float], orientation: Sequence[float], spacing: tuple[float, float]
) -> None:
    """Put the place of a slice in the patient into a file."""
    file.ImagePositionPatient = [f"{value:.6g}" for value in position]
    file.ImageOrientationPatient = [f"{value:.6g}" for value in orientation]
    file.PixelSpacing = [f"{value:.6g}" for value in spacing]
    file.PhotometricInterpretation = "MONOCHROME2"


def _write(file: FileDataset, path: Path, **elements: str) -> None:
    """Write a file with further elements."""
    with warnings.catch_warnings():
        # published archives use identifiers that DICOM does not allow, and so do their twins
        warnings.simplefilter("ignore", UserWarning)
        for name, value in elements.items():
            setattr(file, name, value)
        pydicom.dcmwrite(path, file, enforce_file_format=True)


def _header(path: Path, *, kind: str, image: str) -> FileDataset:
    """A file of one SOP class without an image."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, image
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = kind, image
    return file


def _fill(file: FileDataset, stored: np.ndarray, *, bits_stored: int) -> None:
    """Put stored values of 16 bits into a file, with the elements that describe them."""
    file.Rows, file.Columns = stored.shape
    file.SamplesPerPixel = 1
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, bits_stored, bits_stored - 1
    file.PixelRepresentation = int(stored.dtype.kind == "i")
    file.PixelData = stored.astype("<i2" if stored.dtype.kind == "i" else "<u2").tobytes()


def identifier(kind: str, name: str) -> str:
    """A DICOM UID derived from a name; under the root 2.25 any 128-bit number is valid."""
    return f"2.25.{int.from_bytes(hashlib.sha256(f'{kind}/{name}'.encode()).digest()[:16], 'big')}"
