"""Published checkpoint files: read without executing code that may be in them, and the tensors inside."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from headwater.core.errors import UserError, did_you_mean
from headwater.models import checkpoint_kind

WRAPPERS = (
    "state_dict",
    "model",
    "model_state",
    "model_state_dict",
    "teacher",
    "student",
    "net",
    "network",
    "network_weights",
    "module",
    "encoder",
    "backbone",
)
"""Names of entries under which published checkpoints keep their tensors."""

BROKEN = (*checkpoint_kind.BROKEN, SafetensorError)
"""What torch, numpy, zipfile and safetensors raise on damaged bytes."""

REPEATED = 2**24
"""Bytes that a tensor may take although its file stores fewer."""


def read(path: Path, *, wrapper: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors by name, metadata) of a PyTorch, safetensors or NumPy (.npz) file, whatever its name ends in.

    `wrapper` names the entry that holds the tensors; it can be left out if there is only one of `WRAPPERS`.
    """
    if not path.is_file():
        raise UserError(
            "there is no such file", file=path, remedy="correct weights.path, or leave it out to download the weights"
        )
    with checkpoint_kind.damage_told(path, broken=BROKEN):
        kind = checkpoint_kind.of(path)
        if kind == "safetensors":
            tensors, metadata = _safetensors(path)
        elif kind == "npz":
            tensors, metadata = _npz(path), {}
        else:
            tensors, metadata = _tensors(_unpickled(path), wrapper, path), {}
    _refuse_without_values(tensors, path)
    return tensors, metadata


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


def _npz(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def _unpickled(path: Path) -> Any:
    """The content of a file by torch.save; refuses anything but tensors, numbers, text and containers of them."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" not in str(error) and "GLOBAL" not in str(error):
            raise
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"holds more than tensors, so opening it could run foreign code ({first})",
            file=path,
            remedy="if you trust it, save only its tensors: torch.save(torch.load(f, weights_only=False)['model'], g)",
        ) from None


def _refuse_without_values(tensors: dict[str, Tensor], path: Path) -> None:
    """Refuse tensors without values, and those that repeat few values so often that a copy would fill the memory."""
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise UserError(
                f"tensor {name} has a shape and no values", file=path, remedy="ask its publisher for the weights"
            )
        if tensor.layout != torch.strided or tensor.is_quantized:
            continue
        claimed = tensor.numel() * tensor.element_size()
        if claimed > max(tensor.untyped_storage().nbytes(), REPEATED):
            raise UserError(
                f"tensor {name} claims {claimed:,} bytes, and the file holds {tensor.untyped_storage().nbytes():,}",
                file=path,
                remedy="download it again, or ask its publisher",
            )


def _tensors(content: Any, wrapper: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, unwrapped from nested entries."""
    # entries may be nested, such as `module` within `state_dict`
    while isinstance(content, dict):
        inner = {key: value for key, value in content.items() if isinstance(value, dict)}
        if wrapper:
            if wrapper not in inner:
                raise UserError(
                    f"has no entry {wrapper!r}",
                    file=path,
                    remedy=f"set wrapper: {did_you_mean(wrapper, map(str, inner))}",
                )
            content, wrapper = inner[wrapper], ""
            continue
        tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        wrappers = [key for key in WRAPPERS if key in inner]
        if len(wrappers) > 1:
            raise UserError(
                f"holds several networks: {', '.join(wrappers)}",
                file=path,
                remedy="choose one with wrapper: " + " or wrapper: ".join(wrappers),
            )
        if not wrappers and tensors:
            return tensors
        if not wrappers:
            raise UserError(
                "holds no tensors",
                file=path,
                remedy=f"set wrapper to one of: {', '.join(map(str, inner)) or 'none to choose from'}",
            )
        content = inner[wrappers[0]]
    raise UserError(
        f"holds a {type(content).__name__}, not tensors by name",
        file=path,
        remedy="save the network's state_dict instead",
    )
