"""Weights files: tensors with metadata in safetensors files, written atomically."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import safetensors
from safetensors.torch import save as serialised
from torch import Tensor

from headwater.core.errors import UserError
from headwater.core.files import whole


def save_weights(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata as safetensors; equal contents give equal bytes."""
    # the library refuses tensors that share memory
    separate = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    with whole(path) as temporary:
        temporary.write_bytes(_in_order(serialised(separate, metadata=dict(metadata))))


def _in_order(content: bytes) -> bytes:
    """Safetensors bytes with a sorted header, because the library's order of metadata changes from call to call."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    # the format requires tensors to begin at a multiple of 8 bytes
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata) of a safetensors file, on the CPU."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(
            f"weights file is missing, corrupt or truncated ({error})",
            file=path,
            remedy="delete it and run its rule again",
        ) from None
