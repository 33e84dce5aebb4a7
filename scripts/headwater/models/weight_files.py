"""Weights files: tensors with metadata in safetensors files, written atomically."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load
from safetensors.torch import save as serialised
from torch import Tensor

from headwater.core import weights_digest
from headwater.core.errors import UserError
from headwater.core.files import whole

MADE_AGAIN = "delete it and run its rule again"


def save_weights(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata as safetensors; equal contents give equal bytes."""
    # the library refuses tensors that share memory
    separate = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    header, numbers = weights_digest.parts(serialised(separate, metadata=dict(metadata)))
    header["__metadata__"] = dict(metadata)
    header["__metadata__"] = {**metadata, weights_digest.CONTENT: weights_digest.digest(header, numbers)}
    with whole(path) as temporary:
        temporary.write_bytes(_joined(header, numbers))


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata) of a safetensors file, on the CPU; refuses one that has changed since it was written."""
    try:
        content = path.read_bytes()
        header, numbers = weights_digest.parts(content)
        metadata = header.get("__metadata__") or {}
        tensors = load(content)
    except (OSError, ValueError, AttributeError, RecursionError, struct.error, safetensors.SafetensorError) as error:
        raise UserError(
            f"weights file is missing, corrupt or truncated ({error})", file=path, remedy=MADE_AGAIN
        ) from None
    weights_digest.refuse_other(header, numbers, path, remedy=MADE_AGAIN)
    return tensors, metadata


def _joined(header: dict[str, Any], numbers: memoryview) -> bytes:
    """Safetensors bytes with a sorted header, because the library's order of metadata changes from call to call."""
    text = weights_digest.as_bytes(header)
    # the format requires tensors to begin at a multiple of 8 bytes
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + numbers
