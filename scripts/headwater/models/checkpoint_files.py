"""Checkpoint files: opened without running anything that is in them, and the tensors found inside."""

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
"""Entries under which checkpoints keep their tensors."""


def read(path: Path, *, wrapper: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors by name, metadata) of a .pth, .pt, .safetensors or .npz file.

    `wrapper` names the entry that holds the tensors; without it the only known wrapper is taken.
    """
    if not path.is_file():
        raise UserError("there is no such file", file=path, remedy="mend weights.path, or leave it out to ask the hub")
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
        raise UserError(f"is no whole safetensors file: {error}", file=path, remedy="get it again") from None


def _npz(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"is no whole npz file of numbers: {error}", file=path, remedy="get it again") from None


def _unpickled(path: Path) -> Any:
    """What torch.save wrote, if it is tensors, numbers and text."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"holds more than tensors, and opening it could run foreign code ({first})",
            file=path,
            remedy="if you trust it, save its tensors alone: torch.save(torch.load(f, weights_only=False)['model'], g)",
        ) from None
    except (RuntimeError, EOFError, OSError, LookupError, ValueError) as error:
        raise UserError(f"cannot be read as a checkpoint: {error}", file=path, remedy="get it again") from None


def _tensors(content: Any, wrapper: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, out of the entry that wraps them."""
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
                remedy="say which by wrapper: " + " or wrapper: ".join(wrappers),
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
        f"holds a {type(content).__name__}, no tensors by name", file=path, remedy="save the state_dict of the network"
    )
