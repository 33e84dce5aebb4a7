"""Names the compression of a DICOM file, and says what to do about one that no decoder here reads.

A transfer syntax is the encoding of a file: byte order and compression. Its header states its number (DICOM PS3.6 A).
"""

from pathlib import Path

from pydicom.uid import UID

from headwater.core.errors import UserError

STANDARD = "1.2.840.10008."
"""What the numbers begin with that DICOM assigns; those of vendors begin otherwise."""

JPEG_XL = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
}

NEWER = {**JPEG_XL, "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression"}
"""Transfer syntaxes that pydicom does not know."""

VIDEO = ("MPEG", "HEVC", "SMPTE")
"""Words in the names of those that hold a film."""

ON_A_SERVER = "JPIP"
"""The word in the names of those whose pixels are on a server."""

UNCOMPRESSED = "Explicit VR Little Endian"


def name_of(syntax: UID) -> str:
    """The name of a transfer syntax, such as JPEG XL; its number where it has none."""
    return NEWER.get(syntax) or syntax.name


def refuse_unknown(syntax: UID, path: Path) -> None:
    """Refuse a transfer syntax that no decoder here reads, by its name and with what converts it."""
    name = name_of(syntax)
    if not syntax.startswith(STANDARD):
        # the name of a private one is its number
        what, remedy = f"is in a vendor's own encoding ({name})", f"export it as {UNCOMPRESSED} where it was made"
    elif any(word in name for word in VIDEO):
        what, remedy = f"holds a video ({name})", "export the frame you need as an image, or take it off the list"
    elif ON_A_SERVER in name:
        what, remedy = f"refers to pixels on a server ({name})", "fetch the image itself from that server"
    elif syntax in JPEG_XL:
        what = f"is compressed as {name}, which is not read"
        remedy = f"convert it to {UNCOMPRESSED}, for example with dicom-transcode --expl-vr-le of DICOM-rs"
    elif syntax in NEWER or not syntax.is_transfer_syntax:
        what = (
            f"is compressed as {name}, which is not read" if syntax in NEWER else f"is in an unknown encoding ({name})"
        )
        remedy = f"convert it to {UNCOMPRESSED} with the newest release of a DICOM toolkit, or export it again so"
    else:
        return
    raise UserError(what, file=path, remedy=remedy, nameless=what)
