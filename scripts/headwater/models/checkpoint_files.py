"""Published checkpoint files: read without executing code that may be in them, and the tensors inside."""

import json
import os
import pickle
import struct
import zipfile
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

BLOCK = 4096
"""Bytes that a file system reserves at once; weights of a trained network do not end in as many zeros by chance."""

ZEROS_READ = 2**20
"""Bytes that are looked at together for zeros."""

REPEATED = 2**24
"""Bytes that a tensor may take although its file stores fewer."""


def read(path: Path, *, wrapper: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors by name, metadata) of a PyTorch, safetensors or NumPy (.npz) file, whatever its name ends in.

    `wrapper` names the entry that holds the tensors; it can be left out if there is only one of `WRAPPERS`.
    """
    if path.is_dir():
        raise UserError("is a folder", file=path, remedy="set weights.path to the file of weights in it")
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
    if not tensors:
        raise UserError("holds no tensors", file=path, remedy=checkpoint_kind.TOLD_AGAIN)
    _refuse_without_values(tensors, path)
    return tensors, metadata


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        _refuse_unfinished(_places(path), path)
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """The first byte of each tensor of a safetensors file and the one behind its last, by its name."""

    def named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # JSON parsers keep the last of two
        checkpoint_kind.refuse_twice((name for name, _ in pairs), path)
        return dict(pairs)

    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length), object_pairs_hook=named)
    header.pop("__metadata__", None)
    return {name: tuple(8 + length + at for at in entry["data_offsets"]) for name, entry in header.items()}


def _refuse_unfinished(places: dict[str, tuple[int, int]], path: Path) -> None:
    """Refuse a file that is zero from the middle of a tensor to its end.

    So ends a download that reserved the space on the disk and then broke off. Tensors that are zero as a whole may be
    meant, such as the last layer of a branch.
    """
    behind = _end_of_values(path)
    for name, (begin, end) in places.items():
        if begin < behind <= end - BLOCK:
            raise UserError(
                f"holds only zeros from the middle of tensor {name} to its end, as an unfinished download does",
                file=path,
                remedy="download it again, and compare its checksum",
            )


def _end_of_values(path: Path) -> int:
    """The number of bytes of a file without the zeros at its end."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - ZEROS_READ)
            file.seek(begin)
            if values := file.read(end - begin).rstrip(b"\0"):
                return begin + len(values)
            end = begin
    return 0


def _npz(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as arrays:
        return {key: torch.from_numpy(_native(arrays[key])) for key in arrays.files}


def _native(values: np.ndarray) -> np.ndarray:
    """Numbers in the byte order of this machine."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _unpickled(path: Path) -> Any:
    """The content of a file by torch.save; refuses anything but tensors, numbers, text and containers of them."""
    if zipfile.is_zipfile(path):
        checkpoint_kind.refuse_changed(path)
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
                remedy=checkpoint_kind.TOLD_AGAIN,
            )


def _tensors(content: Any, wrapper: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, unwrapped from nested entries."""
    # entries may be nested, such as `module` within `state_dict`
    while isinstance(content, dict):
        inner = {key: value for key, value in content.items() if isinstance(value, dict)}
        if wrapper:
            if wrapper not in inner:
                raise UserError(f"has no entry {wrapper!r}", file=path, remedy=_instead_of(wrapper, content))
            content, wrapper = inner[wrapper], ""
            continue
        tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        wrappers = [key for key in WRAPPERS if key in inner and _has_tensors(inner[key])]
        _refuse_several(tensors, wrappers, path)
        if not wrappers and tensors:
            return tensors
        if not wrappers:
            listed = ", ".join(map(str, content))
            what = f"no tensors by name, but {listed}" if listed else "nothing"
            raise UserError(f"holds {what}", file=path, remedy=_instead_of("", content))
        content = inner[wrappers[0]]
    raise UserError(
        f"holds a {type(content).__name__}, not tensors by name",
        file=path,
        remedy="save the network's state_dict instead",
    )


def _refuse_several(tensors: dict[str, Tensor], wrappers: list[str], path: Path) -> None:
    """Refuse entries that each hold a network, or that lie beside one: which of them was meant, nobody can tell."""
    if len(wrappers) > 1:
        raise UserError(
            f"holds several networks: {', '.join(wrappers)}",
            file=path,
            remedy="choose one with wrapper: " + " or wrapper: ".join(wrappers),
        )
    # a counter or a queue beside an entry is no network, whose weights are named by their layers
    layers = [name for name, tensor in tensors.items() if "." in name and tensor.ndim > 1]
    if wrappers and layers:
        raise UserError(
            f"holds several networks: {wrappers[0]}, and {layers[0]} and others beside it",
            file=path,
            remedy=f"choose the inner one with wrapper: {wrappers[0]}, or save the other one alone",
        )


def _instead_of(wrapper: str, content: dict[Any, Any]) -> str:
    """What to do about a wrapper that is not there, or about tensors that no usual wrapper leads to."""
    choices = [str(key) for key, value in content.items() if _has_tensors(value)]
    if choices:
        return f"set wrapper: {did_you_mean(wrapper, choices)}" if wrapper else f"set wrapper: {' or '.join(choices)}"
    if any(isinstance(value, Tensor) for value in content.values()):
        return "leave wrapper out, as its tensors lie at the top"
    return "ask its publisher for a file with the weights of the network"


def _has_tensors(content: Any) -> bool:
    """Whether an entry holds tensors by name, itself or under further wrappers; an optimizer's have numbers."""
    if not isinstance(content, dict):
        return False
    return any(
        isinstance(key, str) and (isinstance(value, Tensor) or _has_tensors(value)) for key, value in content.items()
    )
