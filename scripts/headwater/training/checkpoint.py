"""Checkpoints: a training's private progress, and the weights that it hands on, as files that are whole or absent."""

import json
import os
import pickle
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save as serialised
from torch import Tensor

from headwater.core.errors import UserError
from headwater.core.files import whole
from headwater.core.locks import NoLocksError, try_lock
from headwater.training.ddp import World, any_rank

SECONDS_BETWEEN_TRIES = 1.0

ONE_MORE = 1 << 20
"""Bytes that do not fit where the disk is full."""


def save(contents: dict[str, Any], progress: Path, *, identity: str) -> None:
    """Write progress: tensors, numbers, text, and lists and dictionaries of them."""
    with whole(progress) as temporary:
        try:
            torch.save({"identity": identity, **contents}, temporary)
        except RuntimeError:
            # torch does not say what is wrong with the file; the next byte does
            with temporary.open("ab") as file:
                file.write(bytes(ONE_MORE))
            raise


def load(progress: Path, *, identity: str) -> dict[str, Any] | None:
    """The progress that was saved under this identity, on the CPU; None where there is none.

    That of another identity is left aside, with a word about it.
    """
    if not progress.exists():
        return None
    try:
        contents = torch.load(progress, map_location="cpu", weights_only=True)
        theirs = contents.pop("identity")
    except (OSError, RuntimeError, EOFError, LookupError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"training checkpoint is corrupt or truncated ({type(error).__name__})",
            file=progress,
            remedy="delete it; the training then starts from its first step",
        ) from None
    if theirs != identity:
        say(f"{progress}: belongs to another training (other settings or data); this one starts from its first step")
        return None
    return contents


def forget(progress: Path) -> None:
    """Remove the progress of a training whose product is in use, and so will not be made again from it."""
    progress.unlink(missing_ok=True)
    # what a training that was killed while it saved has left behind
    for unfinished in progress.parent.glob(f".{progress.name}.*"):
        unfinished.unlink(missing_ok=True)
    _lock_of(progress).unlink(missing_ok=True)


@contextmanager
def alone(progress: Path, *, world: World) -> Iterator[None]:
    """Hold the lock beside the progress file; while another training has it, wait and say so."""
    file = _lock_of(progress)
    waits = False
    with ExitStack() as held:
        # the ranks ask each other at each try, because one that waited in silence would be given up
        while any_rank(world.first and not _taken(file, held), world):
            if world.first and not waits:
                say(f"{file}: another job trains this run; waiting for its end")
            waits = True
            time.sleep(SECONDS_BETWEEN_TRIES)
        yield


def _lock_of(progress: Path) -> Path:
    return progress.with_name(progress.name + ".lock")


def _taken(file: Path, held: ExitStack) -> bool:
    """Whether nobody else holds the lock; it is released with `held`."""
    try:
        lock = try_lock(file)
    except NoLocksError:
        say(f"{file}: this file system has no locks; make sure that only one job at a time trains this run")
        return True
    if lock is not None:
        held.callback(lock.release)
    return lock is not None


def save_weights(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors and what is said of them as safetensors; equal contents give equal bytes."""
    apart = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    with whole(path) as temporary:
        temporary.write_bytes(_in_order(serialised(apart, metadata=dict(metadata))))


def _in_order(content: bytes) -> bytes:
    """Safetensors with a sorted header: the library writes metadata in an order that changes from call to call."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata) of a safetensors file, on the CPU."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(
            f"holds no weights: {error}", file=path, remedy="delete it and run the rule that makes it again"
        ) from None


def say(line: str) -> None:
    """One line on the log, from the first rank."""
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr, flush=True)
