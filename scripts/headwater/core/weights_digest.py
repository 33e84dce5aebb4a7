"""Weights digest: what a safetensors file holds of its own content, by which a file that has changed is refused."""

import hashlib
import json
import re
import struct
from pathlib import Path
from typing import Any

from headwater.core.errors import UserError

CONTENT = "content"
"""The entry of the metadata that holds the digest of everything else in the file."""

DIGEST = re.compile(r"[0-9a-f]{32}")


def metadata_of(path: Path, *, remedy: str) -> dict[str, str]:
    """The metadata of a safetensors file; refuses one that has changed since headwater wrote it."""
    try:
        header, numbers = parts(path.read_bytes())
        metadata = header.get("__metadata__") or {}
    except (OSError, ValueError, AttributeError, RecursionError, struct.error) as error:
        raise UserError(f"weights file is missing, corrupt or truncated ({error})", file=path, remedy=remedy) from None
    refuse_other(header, numbers, path, remedy=remedy)
    return metadata


def refuse_other(header: dict[str, Any], numbers: memoryview, path: Path, *, remedy: str) -> None:
    """Compare a file with the digest in its header, which is taken out."""
    metadata = header.get("__metadata__") or {}
    recorded = metadata.pop(CONTENT, None)
    # a changed bit may have hit the entry's name
    renamed = recorded is None and any(DIGEST.fullmatch(value) for value in metadata.values())
    if renamed or (recorded is not None and recorded != digest(header, numbers)):
        raise UserError("has changed since headwater wrote it", file=path, remedy=remedy)


def parts(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """(header, bytes of the tensors) of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), memoryview(content)[8 + length :]


def digest(header: dict[str, Any], numbers: memoryview) -> str:
    """The digest of a file without its digest: names, shapes, metadata and numbers."""
    hashed = hashlib.blake2b(as_bytes(header), digest_size=16)
    hashed.update(numbers)
    return hashed.hexdigest()


def as_bytes(header: dict[str, Any]) -> bytes:
    """A header as it stands in a file: its keys sorted."""
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
