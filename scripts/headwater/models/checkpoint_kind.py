"""Checkpoint kind: what a downloaded file is, by its first bytes and table of contents, before a library opens it."""

import io
import math
import pickle
import pickletools
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from headwater.core.errors import UserError

Kind = Literal["torch", "safetensors", "npz"]

PICKLE = b"\x80"
"""How pickles of protocol 2 and later begin."""

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files begin that torch.save wrote before torch 1.6: a magic number, pickled."""

LARGEST_RATIO = 20
"""How much larger than its file a checkpoint may be; float weights do not compress, freshly drawn ones hardly do."""

LARGEST_HEADER = 100_000_000
"""Bytes of a safetensors header, as its library limits them."""

WHOLE_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")
"""The operations of a pickle that hold a number of the content; others number what is remembered."""

PICKLES = 64 * 2**20
"""Bytes at the beginning of a legacy file that are looked through."""

TOLD_AGAIN = "download it again, or ask its publisher"

READABLE = "?bBhHiIlLqQefdFD"
"""The kinds of numbers that numpy and torch both have, as numpy's characters."""

BROKEN = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OSError),
    *(RuntimeError, TypeError, ValueError, struct.error, zlib.error),
    *(pickle.UnpicklingError, zipfile.BadZipFile),
)
"""What the standard library and numpy raise on damaged bytes."""

OTHERS = (
    (b"<!DOCTYPE", "an HTML page", "download the file itself: a login or error page was saved in its place"),
    (b"<html", "an HTML page", "download the file itself: a login or error page was saved in its place"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the content that it points to: git lfs pull"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it with gunzip or tar"),
    (b"BZh", "compressed by bzip2", "unpack it with bunzip2 or tar"),
    (b"\xfd7zXZ", "compressed by xz", "unpack it with unxz or tar"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"\x89HDF", "an HDF5 file, as Keras writes them", "use the publisher's PyTorch checkpoint"),
    (b"\x93NUMPY", "a single NumPy array", "save all arrays by name: numpy.savez"),
    (b"%PDF", "a PDF", "check weights.path"),
    (b"\x89PNG", "a picture", "check weights.path"),
    (b"\xff\xd8\xff", "a picture", "check weights.path"),
    (b"{", "a JSON file", "set path to the file of weights beside it"),
)
"""(first bytes, what they say, remedy) of files that people have in place of a checkpoint."""


def check(path: Path) -> None:
    """Refuse what is no checkpoint by its first bytes and table of contents, without reading a tensor."""
    with damage_told(path, broken=BROKEN):
        of(path)


@contextmanager
def damage_told(path: Path, *, broken: tuple[type[Exception], ...]) -> Iterator[None]:
    """A block in which what libraries raise on the damaged bytes of a file becomes one line."""
    try:
        yield
    except broken as error:
        # libraries raise OSError on damaged bytes, too, but only the system gives a number
        if isinstance(error, OSError) and error.errno:
            raise UserError(
                f"cannot be read: {error.strerror}", file=path, remedy="check its permissions and the disk"
            ) from None
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"is corrupt or truncated: {first}", file=path, remedy="download it again, and compare its checksum"
        ) from None


def of(path: Path) -> Kind:
    """Which library reads a file; refuses what is no checkpoint, or would unpack to far more than it holds.

    Damaged files raise whatever zipfile and numpy raise on them.
    """
    with path.open("rb") as file:
        beginning = file.read(512)
    if not beginning.strip(b"\0"):
        raise UserError("is empty or holds zeros only", file=path, remedy="download it again")
    if beginning.startswith(b"PK\x03\x04"):
        return _of_zip(path)
    if _is_safetensors(beginning, size=path.stat().st_size):
        return "safetensors"
    if beginning.startswith(LEGACY):
        _refuse_large_storages(_beginning(path), path)
        return "torch"
    _refuse_other(path, beginning)


def _is_safetensors(beginning: bytes, *, size: int) -> bool:
    """Whether a JSON header of the length that the first eight bytes give lies within the file."""
    if len(beginning) < 9:
        return False
    (length,) = struct.unpack("<Q", beginning[:8])
    # one that is cut off within its header is told by the library
    return length <= LARGEST_HEADER and beginning[8:9] == b"{" and size > 8


def _of_zip(path: Path) -> Kind:
    """The kind of a zip archive: torch.save and numpy.savez both write such."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _refuse_encrypted_or_swollen(members, path)
        names = [member.filename for member in members]
        refuse_twice(names, path)
        pickles = [name for name in names if name.endswith("data.pkl")]
        if pickles:
            _refuse_program(names, path)
            _refuse_large_storages(archive.read(pickles[0]), path)
            return "torch"
        if names and all(name.endswith(".npy") for name in names):
            for member in members:
                _refuse_unreadable_array(archive, member, path)
            return "npz"
    shown = ", ".join(names[:2]) or "nothing"
    raise UserError(f"is a zip archive of {shown}, not a checkpoint", file=path, remedy="unpack it and name the file")


def refuse_twice(names: Iterable[str], path: Path) -> None:
    """Refuse a file with two tensors of one name: which of them was meant, nobody can tell."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"holds {twice[0]} twice", file=path, remedy=TOLD_AGAIN)


def refuse_changed(path: Path) -> None:
    """Compare the members of a zip archive with their checksums, which torch writes but does not read."""
    with zipfile.ZipFile(path) as archive:
        if (changed := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{changed} does not have its checksum")


def _refuse_program(names: list[str], path: Path) -> None:
    """Refuse TorchScript, which lies in an archive like a checkpoint's."""
    if any("/code/" in name for name in names):
        raise UserError(
            "is a TorchScript program, not a checkpoint",
            file=path,
            remedy="use the publisher's file of plain weights (its state_dict)",
        )


def _refuse_encrypted_or_swollen(members: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse an archive that needs a password, or that a few bytes would turn into gigabytes."""
    if any(member.flag_bits & 1 for member in members):
        raise UserError("is encrypted", file=path, remedy="unpack it with its password first")
    unpacked, packed = sum(member.file_size for member in members), path.stat().st_size
    if unpacked > LARGEST_RATIO * packed:
        raise UserError(
            f"would unpack to {unpacked:,} bytes from {packed:,}: no weights do that",
            file=path,
            remedy=TOLD_AGAIN,
        )


def _refuse_unreadable_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Refuse an array of anything but numbers, or whose header promises more bytes than follow it.

    numpy allocates what the header says.
    """
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file)
    if kind.char not in READABLE:
        what = "Python objects" if kind.hasobject else f"{kind} values"
        raise UserError(
            f"array {member.filename} holds {what}, not numbers that PyTorch has",
            file=path,
            remedy="save the weights as float32 arrays: numpy.savez",
        )
    claimed = math.prod(shape) * kind.itemsize
    if claimed > member.file_size:
        raise UserError(
            f"array {member.filename} claims {claimed:,} bytes, and the file holds {member.file_size:,}",
            file=path,
            remedy=TOLD_AGAIN,
        )


def _beginning(path: Path) -> bytes:
    """The pickles that a legacy file begins with; raw numbers follow them."""
    with path.open("rb") as file:
        return file.read(PICKLES)


def _refuse_large_storages(pickles: bytes, path: Path) -> None:
    """Refuse pickles whose tensors claim more numbers than the file can hold; nothing in them is run.

    torch allocates what a storage claims before it looks at what is there.
    """
    size, last = path.stat().st_size, 0
    # several in a row; behind the last one a legacy file has raw numbers, which are no pickle
    stream = io.BytesIO(pickles)
    with suppress(ValueError):
        while stream.tell() < len(pickles):
            for opcode, argument, _ in pickletools.genops(stream):
                # ("storage", type, key, device, count[, view]): the count is the last number before the reference
                last = argument if opcode.name in WHOLE_NUMBERS else last
                if opcode.name == "BINPERSID" and last > LARGEST_RATIO * size:
                    raise UserError(
                        f"a tensor claims {last:,} numbers, and the whole file has {size:,} bytes",
                        file=path,
                        remedy=TOLD_AGAIN,
                    )


def _refuse_other(path: Path, beginning: bytes) -> NoReturn:
    """Say what a file is that is no checkpoint."""
    for signature, name, remedy in OTHERS:
        if beginning.lstrip().lower().startswith(signature.lower()):
            raise UserError(f"is {name}, not a checkpoint", file=path, remedy=remedy)
    if beginning[257:262] == b"ustar":
        raise UserError("is a tar archive, not a checkpoint", file=path, remedy="unpack it and name the file in it")
    if beginning.startswith(PICKLE):
        raise UserError(
            "is a pickle that PyTorch did not write, not a checkpoint",
            file=path,
            remedy="ask its publisher for a .pth or .safetensors file",
        )
    raise UserError(
        "is not a checkpoint: neither a PyTorch, safetensors nor NumPy (.npz) file",
        file=path,
        remedy="check weights.path",
    )
