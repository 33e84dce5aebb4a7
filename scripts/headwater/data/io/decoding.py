"""Opens DICOM files and decompresses their pixels, or refuses a file by name; a bad file costs no other file.

A header is trusted only after the size that it states was compared with the number of bytes that follow, and with the
size that each compressed frame states itself.
"""

import os
import re
import struct
import tempfile
import textwrap
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
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
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)

from headwater.core import guarded_process
from headwater.core.errors import UserError, stop_if_disk
from headwater.data.io import codestreams, jpeg_scans, limits
from headwater.data.io.elements import pixels_of
from headwater.data.io.syntaxes import refuse_unknown

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
"""What pydicom and its decoders raise on files that are cut off, damaged or not DICOM."""

HIGH_THROUGHPUT = (HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)
"""Transfer syntaxes of High-Throughput JPEG 2000, which pydicom decodes with few of its plug-ins."""

JPEGS = (JPEGBaseline8Bit, JPEGExtended12Bit)
"""Transfer syntaxes of JPEG as pictures have it, whose decoders paint grey what is missing."""

DEFLATED = b"1.2.840.10008.1.2.1.99"
"""Deflated Explicit VR Little Endian."""

MOST_META = 132 + 4096
"""Bytes from the start of a file among which its transfer syntax is looked for."""

PLAIN = b"1.2.840.10008.1.2.1".ljust(len(DEFLATED), b"\0")
"""Explicit VR Little Endian, padded to the same length, so that the header keeps its size."""

LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
"""Value representations whose length field has four bytes, not two (DICOM PS3.5 7.1.2)."""

CONVERT = "fetch it again, or convert it to Explicit VR Little Endian"
"""What to do about a file that its decoder fails on."""

DAMAGED = re.compile(rb"(Corrupt JPEG data: (?:(\d+) extraneous bytes)?[^\n]*)")
"""What libjpeg prints about a JPEG whose data do not fit its pixels."""

MOST_EXTRA = 16
"""Bytes too much that are no damage: some encoders end the data with a few that nothing needs."""

ITEM = b"\xfe\xff\x00\xe0"
"""Item tag (FFFE,E000), with which encapsulated pixel data begin."""


@contextmanager
def refusing(path: Path, *, what: str) -> Iterator[None]:
    """Turn whatever pydicom raises on a broken file into a UserError that names the file."""
    try:
        with warnings.catch_warnings():
            # pydicom warns about many small faults of valid files, with values from the header
            warnings.simplefilter("ignore")
            yield
    except FileNotFoundError:
        remedy = "fetch it, or take it off the list"
        raise UserError("is not there", file=path, remedy=remedy, nameless="is not there") from None
    except BROKEN as error:
        stop_if_disk(error, file=path)
        reason = textwrap.shorten(str(error).replace(str(path), "file"), 200) or type(error).__name__
        broken = f"is not a readable {what}"
        raise UserError(f"{broken}: {reason}", file=path, remedy="fetch it again", nameless=broken) from None


def opened(path: Path, *, tags: Sequence[str] | None = None) -> pydicom.Dataset:
    """The data set of a DICOM file, refused if empty; with `tags` only these elements, without reading pixels."""
    with limits.readable(path) as file:
        start = file.read(MOST_META)
        file.seek(0)
        content = BytesIO(inflated(file.read())) if DEFLATED in start else file
        # force: files without the preamble of 128 bytes are common, and pydicom reads them
        if tags is not None:
            return pydicom.dcmread(content, force=True, stop_before_pixels=True, specific_tags=list(tags))
        dataset = pydicom.dcmread(content, force=True)
    if len(dataset) == 0:
        raise UserError("is not a DICOM file", file=path, remedy="fetch it again", nameless="is not a DICOM file")
    return dataset


def inflated(content: bytes) -> bytes:
    """The file with a deflated data set inflated (DICOM PS3.5 A.5); pydicom would inflate without a limit on size."""
    if content[128:132] != b"DICM" or DEFLATED not in content[132:MOST_META]:
        return content
    start = _end_of_meta(content)
    # negative: a raw stream without the header of zlib
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = inflater.decompress(content[start:], limits.MOST_BYTES)
    if inflater.unconsumed_tail or not inflater.eof:
        raise ValueError("its deflated data set is cut off or too large")
    return content[:start].replace(DEFLATED, PLAIN) + plain


def _end_of_meta(content: bytes) -> int:
    """Position at which the file meta information (group 0002) ends."""
    # 128 bytes of preamble and the four letters DICM
    place = 132
    # an element: tag (4 bytes), value representation (2), then its length in 2 bytes, or in 4 after 2 reserved ones
    while content[place : place + 2] == b"\2\0":
        if content[place + 4 : place + 6] in LONG:
            place += 12 + struct.unpack_from("<I", content, place + 8)[0]
        else:
            place += 8 + struct.unpack_from("<H", content, place + 6)[0]
    return place


def frames_of(dataset: pydicom.Dataset) -> int:
    """NumberOfFrames of a header, 1 where it has none; of a value such as "1A", which occurs, only the digits count."""
    text = str(dataset.get("NumberOfFrames") or 1).strip()
    digits = re.match(r"\d+", text)
    if digits is None:
        raise ValueError(f"NumberOfFrames is {text!r}")
    return int(digits[0])


def stored_values(dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    """Stored values before any rescale: (frames, rows, columns), or (frames, rows, columns, 3) as red, green, blue."""
    _name_syntax(dataset, path)
    refuse_unknown(dataset.file_meta.TransferSyntaxUID, path)
    shape = (frames_of(dataset), int(dataset.Rows), int(dataset.Columns))
    # pydicom reads the element again and would stumble over "1A"
    dataset.NumberOfFrames = shape[0]
    _refuse_wrong_size(dataset, path, shape=shape)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        _refuse_without_decoder(dataset, path)
        _refuse_other_streams(dataset, path, shape=shape)
        stored = _decoded(dataset, path)
    else:
        stored = pixel_array(dataset, allow_excess_frames=False, view_only=True)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    # pydicom omits the axis of a single frame and GDCM gives no shape, so only the number of values can be compared
    expected = shape if samples == 1 else (*shape, samples)
    if stored.size != np.prod(expected, dtype=np.int64):
        what = f"decodes to {stored.shape}, but its header states {expected}"
        raise UserError(what, file=path, remedy="fetch it again", nameless="decodes to another size")
    return stored.reshape(expected)


def _name_syntax(dataset: pydicom.Dataset, path: Path) -> None:
    """Put the encoding that pydicom detected into a data set whose file states no transfer syntax."""
    if dataset.file_meta.get("TransferSyntaxUID"):
        return
    implicit, little = dataset.original_encoding
    if dataset.get("PixelData", b"")[:4] == ITEM:
        what = "has compressed pixels but no TransferSyntaxUID"
        raise UserError(what, file=path, remedy="export it again", nameless=what)
    uncompressed = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else uncompressed


def _refuse_wrong_size(dataset: pydicom.Dataset, path: Path, *, shape: tuple[int, int, int]) -> None:
    """Refuse a header whose size is absurd or exceeds the bytes that follow, before anything is allocated."""
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if samples not in (1, 3):
        what, remedy = f"has SamplesPerPixel {samples}", "export it in grey (1) or colour (3)"
        raise UserError(what, file=path, remedy=remedy, nameless=what)
    limits.refuse_size(shape, samples=samples, file=path)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        if not dataset.PixelData.startswith(ITEM):
            what = "has pixel data that are not encapsulated, although its transfer syntax is a compressed one"
            raise UserError(what, file=path, remedy="export it again", nameless=what)
        return
    allocated = int(dataset.BitsAllocated)
    if allocated not in (1, 8, 16, 32, 64):
        what = f"has BitsAllocated {allocated}"
        raise UserError(what, file=path, remedy="export it with 8 or 16", nameless=what)
    bits = int(np.prod(shape, dtype=np.int64)) * samples * allocated
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        # two pixels share their two chrominance values: four values instead of six
        bits = bits * 2 // 3
    needed = (bits + 7) // 8
    present = len(dataset[pixels_of(dataset)].value)
    if present < needed:
        size = f"{shape[1]} x {shape[2]} pixels" + (f" in {shape[0]} frames" if shape[0] > 1 else "")
        what = f"is cut off: {size} need {needed} bytes, it has {present}"
        raise UserError(what, file=path, remedy="fetch it again", nameless="is cut off")
    _refuse_surplus(dataset, path, needed=needed, line=min(shape[1:]) * samples * allocated // 8)


def _refuse_surplus(dataset: pydicom.Dataset, path: Path, *, needed: int, line: int) -> None:
    """Refuse more bytes than a header states, unless they are padding: of one value, and no more than a line has."""
    surplus = dataset[pixels_of(dataset)].value[needed:]
    is_padding = len(surplus) < 2 or (len(set(surplus)) == 1 and len(surplus) <= line)
    # what the header calls YBR_FULL_422 may have all of its chrominance
    if is_padding or dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        return
    extra = "has more pixel data than its header states"
    what = f"{extra}: {needed} bytes are needed, it has {needed + len(surplus)}"
    remedy = "mend Rows, Columns or NumberOfFrames, or fetch it again"
    raise UserError(what, file=path, remedy=remedy, nameless=extra)


def _refuse_other_streams(dataset: pydicom.Dataset, path: Path, *, shape: tuple[int, int, int]) -> None:
    """Refuse compressed frames that are cut off or differ in size from the header, before they are decoded."""
    # stays 0 where there is no frame at all
    number = 0
    for number, stream in enumerate(generate_frames(dataset.PixelData, number_of_frames=shape[0]), start=1):
        size = codestreams.size_of(stream)
        if size is not None and size != shape[1:]:
            what = f"frame {number} is {size[0]} x {size[1]}, but its header states {shape[1]} x {shape[2]}"
            raise UserError(what, file=path, remedy="fetch it again", nameless="has a frame of another size")
        if not codestreams.is_whole(stream):
            cut = "is cut off: a compressed frame has no end marker"
            raise UserError(cut, file=path, remedy="fetch it again", nameless="is cut off")
        if number == shape[0]:
            break
    if number < shape[0]:
        what = f"is cut off: NumberOfFrames is {shape[0]}, it has {number}"
        raise UserError(what, file=path, remedy="fetch it again", nameless="is cut off")


def _has_decoder(dataset: pydicom.Dataset) -> bool:
    """Whether pydicom has a decoder for the transfer syntax; for 12-bit JPEG it uses none, but GDCM reads it."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        is_available = get_decoder(syntax).is_available
    except NotImplementedError:
        # pydicom knows no decoder for this transfer syntax at all
        return False
    return is_available and not (syntax == JPEGExtended12Bit and dataset.BitsStored > 8)


def _refuse_without_decoder(dataset: pydicom.Dataset, path: Path) -> None:
    """Refuse a transfer syntax whose decoder is not installed."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if _has_decoder(dataset) or syntax in HIGH_THROUGHPUT:
        return
    try:
        import gdcm  # noqa: F401
    except ImportError:
        raise UserError(
            f"is compressed as {syntax.name}",
            file=path,
            remedy="install its decoder: pip install -e '.[dicom]'",
            nameless="is compressed in a way that needs: pip install -e '.[dicom]'",
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
    by_pydicom = _has_decoder(dataset)
    with guarded_process.limited(path, limits=limits.of_decoder(path), remedy=CONVERT), _heard():
        if by_pydicom:
            if syntax in JPEGS:
                for stream in generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames):
                    jpeg_scans.check(stream)
            return pixel_array(dataset, allow_excess_frames=False)
        if syntax in HIGH_THROUGHPUT:
            # part 15 of JPEG 2000, which the OpenJPEG in Pillow decodes like part 1; pydicom goes by the header
            as_part_1 = copy(dataset)
            as_part_1.file_meta = copy(dataset.file_meta)
            as_part_1.file_meta.TransferSyntaxUID = JPEG2000Lossless
            return pixel_array(as_part_1, decoding_plugin="pillow", allow_excess_frames=False)
        return _decoded_by_gdcm(path, syntax=syntax.name)


@contextmanager
def _heard() -> Iterator[None]:
    """Turn what GDCM's libjpeg prints about a damaged JPEG into ValueError: it tells nobody else, and goes on."""
    with tempfile.TemporaryFile() as said:
        before = os.dup(2)
        # the descriptor itself, because C code does not write to sys.stderr
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
        said.seek(0)
        for words, extra in DAMAGED.findall(said.read(limits.PIECE)):
            if not extra or int(extra) > MOST_EXTRA:
                raise ValueError(words.decode())


def _decoded_by_gdcm(path: Path, *, syntax: str) -> np.ndarray:
    """Stored values (values,) of a file in one of the rarer transfer syntaxes."""
    import gdcm

    # its messages would name files
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        what = "cannot be decompressed"
        raise UserError(f"{what} from {syntax}", file=path, remedy=CONVERT, nameless=what)
    image = reader.GetImage()
    pixel_format = image.GetPixelFormat()
    kind = {0: "u", 1: "i"}[pixel_format.GetPixelRepresentation()] + str(pixel_format.GetBitsAllocated() // 8)
    # its Python wrapper gives bytes as text; surrogateescape turns each byte back into itself
    return np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), kind)
