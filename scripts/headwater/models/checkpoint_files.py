"""Published checkpoint files: read without executing code that may be in them, and the tensors inside."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from headwater.core.errors import UserError, did_you_mean

WRAPPERS = (
    "state_dict",
    "model",
    "model_state",
    "model_state_dict",
    "teacher",
    "student",
    "net",
    "network",
    "module",
    "encoder",
    "backbone",
)
"""Names of entries under which published checkpoints keep their tensors."""


def read(path: Path, *, wrapper: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors by name, metadata) of a .pth, .pt, .safetensors or .npz file.

    `wrapper` names the entry that holds the tensors; it can be left out if there is only one of `WRAPPERS`.
    """
    if not path.is_file():
        raise UserError(
            "there is no such file", file=path, remedy="correct weights.path, or leave it out to download the weights"
        )
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix == ".npz":
        return _npz(path), {}
    return _tensors(_unpickled(path), wrapper, path), {}


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"is not a complete safetensors file: {error}", file=path, remedy="download it again") from None


def _npz(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"is not a complete npz file of numbers: {error}", file=path, remedy="download it again"
        ) from None


def _unpickled(path: Path) -> Any:
    """The content of a file by torch.save; refuses anything but tensors, numbers, text and containers of them."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"holds more than tensors, so opening it could run foreign code ({first})",
            file=path,
            remedy="if you trust it, save only its tensors: torch.save(torch.load(f, weights_only=False)['model'], g)",
        ) from None
    except (RuntimeError, EOFError, OSError, LookupError, ValueError) as error:
        raise UserError(f"cannot be read as a checkpoint: {error}", file=path, remedy="download it again") from None


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
