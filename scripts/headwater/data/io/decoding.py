"""Opens DICOM files and undoes their compression, or says by name why not; no file costs more than itself.

A header is believed only after its size was held against the bytes that follow it, and against that of each compressed
stream.
"""

import re
import struct
import textwrap
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NoReturn

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    HTJ2K,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
)

from headwater.core import guarded_process
from headwater.core.errors import UserError
from headwater.data.io import codestreams, limits

BROKEN = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    AssertionError,
    struct.error,
    zlib.error,
    InvalidDicomError,
    BytesLengthException,
)
"""What pydicom and its decoders raise on files that are cut off, damaged or no DICOM."""

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

HIGH_THROUGHPUT = (HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)

DEFLATED = b"1.2.840.10008.1.2.1.99"
PLAIN = b"1.2.840.10008.1.2.1".ljust(len(DEFLATED), b"\0")
LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
"""Kinds of elements whose length takes four bytes (DICOM PS3.5 7.1.2)."""

CONVERT = "fetch it again, or convert it to Explicit VR Little Endian"
"""What to do about a file that its decoder fails on."""

ITEM = b"\xfe\xff\x00\xe0"
"""How encapsulated pixels begin."""


@contextmanager
def refusing(path: Path, *, what: str) -> Iterator[None]:
    """Turn whatever a broken file makes pydicom raise into a refusal that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FileNotFoundError:
        raise UserError("is not there", file=path, remedy="fetch it, or take it off the list") from None
    except BROKEN as error:
        reason = textwrap.shorten(str(error).replace(str(path), "file"), 200) or type(error).__name__
        broken = f"is no readable {what}"
        raise UserError(f"{broken}: {reason}", file=path, remedy="fetch it again", nameless=broken) from None


def opened(path: Path, *, tags: Sequence[str] | None = None) -> pydicom.Dataset:
    """What a DICOM file says, refused if it says nothing; or only what some tags before its pixels say."""
    content = inflated(limits.whole_file(path))
    if tags is not None:
        return pydicom.dcmread(BytesIO(content), force=True, stop_before_pixels=True, specific_tags=list(tags))
    dataset = pydicom.dcmread(BytesIO(content), force=True)
    if len(dataset) == 0:
        raise UserError("is no DICOM file", file=path, remedy="fetch it again", nameless="is no DICOM file")
    return dataset


def inflated(content: bytes) -> bytes:
    """The same file not deflated, if it was (DICOM PS3.5 A.5); pydicom would inflate without a limit."""
    if content[128:132] != b"DICM" or DEFLATED not in content[132 : 132 + 4096]:
        return content
    start = _end_of_meta(content)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = inflater.decompress(content[start:], limits.MOST_BYTES)
    if inflater.unconsumed_tail or not inflater.eof:
        raise ValueError("what was deflated is cut off, or too large")
    return content[:start].replace(DEFLATED, PLAIN) + plain


def _end_of_meta(content: bytes) -> int:
    """Where the elements of group 2 end."""
    place = 132
    while content[place : place + 2] == b"\2\0":
        if content[place + 4 : place + 6] in LONG:
            place += 12 + struct.unpack_from("<I", content, place + 8)[0]
        else:
            place += 8 + struct.unpack_from("<H", content, place + 6)[0]
    return place


def refuse_without_picture(dataset: pydicom.Dataset, path: Path) -> None:
    """Refuse what holds no pixels or no size."""
    if not any(name in dataset for name in PIXELS):
        remedy = "it may be cut off or a report; fetch it again"
        raise UserError("holds no pixels", file=path, remedy=remedy, nameless="holds no pixels")
    for name in ("Rows", "Columns"):
        if not dataset.get(name):
            raise UserError(f"says nothing of its {name}", file=path, remedy="fetch it again")


def frames_of(dataset: pydicom.Dataset) -> int:
    """How many frames a header claims; of a count such as "1A", which does occur, the digits count."""
    told = str(dataset.get("NumberOfFrames") or 1).strip()
    digits = re.match(r"\d+", told)
    if digits is None:
        raise ValueError(f"holds {told} frames")
    return int(digits[0])


def stored_values(dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    """Values as they are stored: (frames, rows, columns), or (frames, rows, columns, 3) as red, green and blue."""
    _name_syntax(dataset, path)
    shape = (frames_of(dataset), int(dataset.Rows), int(dataset.Columns))
    dataset.NumberOfFrames = shape[0]
    _refuse_wrong_size(dataset, path, shape=shape)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        _refuse_without_decoder(dataset, path)
        _refuse_other_streams(dataset, path, shape=shape)
        stored = _decoded(dataset, path)
    else:
        stored = pixel_array(dataset, allow_excess_frames=False)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    expected = shape if samples == 1 else (*shape, samples)
    if stored.size != np.prod(expected, dtype=np.int64):
        raise UserError(f"decodes to {stored.shape}, its header says {expected}", file=path, remedy="fetch it again")
    return stored.reshape(expected)


def _name_syntax(dataset: pydicom.Dataset, path: Path) -> None:
    """Write the transfer syntax that was seen while reading into a dataset whose file names none."""
    if dataset.file_meta.get("TransferSyntaxUID"):
        return
    implicit, little = dataset.original_encoding
    if dataset.get("PixelData", b"")[:4] == ITEM:
        raise UserError("names no transfer syntax for its compressed pixels", file=path, remedy="export it again")
    uncompressed = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else uncompressed


def _refuse_wrong_size(dataset: pydicom.Dataset, path: Path, *, shape: tuple[int, int, int]) -> None:
    """Refuse a header whose size is absurd or does not fit the bytes that follow, before anything is allocated."""
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if samples not in (1, 3):
        raise UserError(f"has {samples} values per pixel", file=path, remedy="a picture is grey or has three colours")
    limits.refuse_size(shape, samples=samples, file=path)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        if not dataset.PixelData.startswith(ITEM):
            raise UserError("has pixels that are not packed as its transfer syntax says", file=path)
        return
    allocated = int(dataset.BitsAllocated)
    if allocated not in (1, 8, 16, 32, 64):
        packed = f"keeps each pixel in {allocated} bits"
        raise UserError(packed, file=path, remedy="export it with 8 or 16", nameless=packed)
    bits = int(np.prod(shape, dtype=np.int64)) * samples * allocated
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    needed = (bits + 7) // 8
    there = len(next(dataset[name].value for name in PIXELS if name in dataset))
    if there < needed:
        size = f"{shape[1]} x {shape[2]} pixels" + (f" in {shape[0]} frames" if shape[0] > 1 else "")
        what = f"is cut off: {size} need {needed} bytes, {there} are there"
        raise UserError(what, file=path, remedy="fetch it again", nameless="is cut off")


def _refuse_other_streams(dataset: pydicom.Dataset, path: Path, *, shape: tuple[int, int, int]) -> None:
    """Refuse compressed frames that are cut off or of another size than the header says, before they are decoded."""
    number = 0
    for number, stream in enumerate(generate_frames(dataset.PixelData, number_of_frames=shape[0]), start=1):
        size = codestreams.size_of(stream)
        if size is not None and size != shape[1:]:
            what = f"frame {number} is {size[0]} x {size[1]}, its header says {shape[1]} x {shape[2]}"
            raise UserError(what, file=path, remedy="fetch it again", nameless="holds a frame of another size")
        if not codestreams.is_whole(stream):
            cut = "is cut off: its compressed pixels have no end"
            raise UserError(cut, file=path, remedy="fetch it again", nameless="is cut off")
        if number == shape[0]:
            break
    if number < shape[0]:
        what = f"is cut off: it says {shape[0]} frames and holds {number}"
        raise UserError(what, file=path, remedy="fetch it again", nameless="is cut off")


def _is_known(dataset: pydicom.Dataset) -> bool:
    """Whether pydicom finds a decoder; twelve-bit JPEG it hands to no free one, though GDCM reads it."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:
        # how pydicom says that it knows no decoder for this syntax at all
        return False
    return known and not (syntax == JPEGExtended12Bit and dataset.BitsStored > 8)


def _refuse_without_decoder(dataset: pydicom.Dataset, path: Path) -> None:
    """Refuse a compression whose decoder is not installed."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if _is_known(dataset) or syntax in HIGH_THROUGHPUT:
        return
    try:
        import gdcm  # noqa: F401
    except ImportError:
        raise UserError(
            f"is compressed as {syntax.name}",
            file=path,
            remedy="to read that: pip install -e '.[dicom]'",
            nameless="is compressed in a way that asks for: pip install -e '.[dicom]'",
        ) from None


def _decoded(dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    """Values of a compressed file, in whatever shape its decoder gives them; decoded in a guarded process."""
    if guarded_process.is_guarded():
        return _decoded_here(dataset, path)
    (stored,) = guarded_process.of_this_process().run(_decoded_file, [path], lost=_refuse_crash)
    return stored


def _refuse_crash(path: Path) -> NoReturn:
    """Refuse a file that ended the process before any decoder had it."""
    what = guarded_process.CRASHES
    raise UserError(what, file=path, remedy=CONVERT, nameless=what)


def _decoded_file(path: Path) -> np.ndarray:
    """Values of a compressed file, as a guarded process gives them to one that is not."""
    with refusing(path, what="DICOM image"):
        dataset = opened(path)
        dataset.NumberOfFrames = frames_of(dataset)
        # imports GDCM where it is needed, before memory is limited
        _refuse_without_decoder(dataset, path)
        return _decoded_here(dataset, path)


def _decoded_here(dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    """Values of a compressed file, decoded in this process under limits."""
    syntax = dataset.file_meta.TransferSyntaxUID
    has_decoder = _is_known(dataset)
    with guarded_process.limited(path, limits=limits.of_decoder(path), remedy=CONVERT):
        if has_decoder:
            return pixel_array(dataset, allow_excess_frames=False)
        if syntax in HIGH_THROUGHPUT:
            # a JPEG 2000 of a later part, which the OpenJPEG in Pillow reads
            return get_decoder(JPEG2000Lossless).as_array(dataset, decoding_plugin="pillow")[0]
        return _decoded_by_gdcm(path, syntax=syntax.name)


def _decoded_by_gdcm(path: Path, *, syntax: str) -> np.ndarray:
    """Values of a file in one of the rarer compressions (values,)."""
    import gdcm

    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise UserError(
            f"cannot be decompressed from {syntax}", file=path, remedy="convert it to Explicit VR Little Endian"
        )
    image = reader.GetImage()
    form = image.GetPixelFormat()
    kind = {0: "u", 1: "i"}[form.GetPixelRepresentation()] + str(form.GetBitsAllocated() // 8)
    return np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), kind)
