"""Weights files: tensors with metadata in safetensors files, written atomically."""

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load
from safetensors.torch import save as serialised
from torch import Tensor

from headwater.core.errors import UserError
from headwater.core.files import whole

MADE_AGAIN = "delete it and run its rule again"

CONTENT = "content"
"""The entry of the metadata that holds the digest of everything else in the file."""

DIGEST = re.compile(r"[0-9a-f]{32}")


def save_weights(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata as safetensors; equal contents give equal bytes."""
    # the library refuses tensors that share memory
    separate = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    header, numbers = _parts(serialised(separate, metadata=dict(metadata)))
    header["__metadata__"] = dict(metadata)
    header["__metadata__"] = {**metadata, CONTENT: _digest(header, numbers)}
    with whole(path) as temporary:
        temporary.write_bytes(_joined(header, numbers))


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata) of a safetensors file, on the CPU; refuses one that has changed since it was written."""
    try:
        content = path.read_bytes()
        header, numbers = _parts(content)
        metadata = header.get("__metadata__") or {}
        tensors = load(content)
    except (OSError, ValueError, AttributeError, RecursionError, struct.error, safetensors.SafetensorError) as error:
        raise UserError(
            f"weights file is missing, corrupt or truncated ({error})", file=path, remedy=MADE_AGAIN
        ) from None
    _refuse_other_digest(header, numbers, path, remedy=MADE_AGAIN)
    return tensors, metadata


def refuse_changed(path: Path, *, remedy: str) -> None:
    """Refuse a safetensors file that has changed since headwater wrote it."""
    _refuse_other_digest(*_parts(path.read_bytes()), path, remedy=remedy)


def _refuse_other_digest(header: dict[str, Any], numbers: memoryview, path: Path, *, remedy: str) -> None:
    """Compare a file with the digest in its header, which is taken out."""
    metadata = header.get("__metadata__") or {}
    recorded = metadata.pop(CONTENT, None)
    # a changed bit may have hit the entry's name
    renamed = recorded is None and any(DIGEST.fullmatch(value) for value in metadata.values())
    if renamed or (recorded is not None and recorded != _digest(header, numbers)):
        raise UserError("has changed since headwater wrote it", file=path, remedy=remedy)


def _parts(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """(header, bytes of the tensors) of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), memoryview(content)[8 + length :]


def _digest(header: dict[str, Any], numbers: memoryview) -> str:
    """The digest of a file without its digest: names, shapes, metadata and numbers."""
    hashed = hashlib.blake2b(_as_bytes(header), digest_size=16)
    hashed.update(numbers)
    return hashed.hexdigest()


def _joined(header: dict[str, Any], numbers: memoryview) -> bytes:
    """Safetensors bytes with a sorted header, because the library's order of metadata changes from call to call."""
    text = _as_bytes(header)
    # the format requires tensors to begin at a multiple of 8 bytes
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + numbers


def _as_bytes(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
