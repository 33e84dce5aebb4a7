"""Checkpoints: a training's private progress, and the weights that it hands on, as files that are whole or absent."""

import errno
import fcntl
import json
import os
import pickle
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save as serialised
from torch import Tensor

from headwater.core.errors import UserError
from headwater.core.files import whole
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
            f"is no progress of a training, or not all of it ({type(error).__name__})",
            file=progress,
            remedy="delete it, and the training starts from its first step",
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
    lock = _lock_of(progress)
    handle, waiting = None, False
    # the ranks ask each other at each try, because one that waited in silence would be given up
    while any_rank(world.first and (handle := _taken(lock)) is None, world):
        if world.first and not waiting:
            say(f"{lock}: another job trains this run; waiting for its end")
        waiting = True
        time.sleep(SECONDS_BETWEEN_TRIES)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _lock_of(progress: Path) -> Path:
    return progress.with_name(progress.name + ".lock")


def _taken(lock: Path) -> int | None:
    """The open lock file if it is ours now; None while another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        say(f"{lock}: this file system has no locks; see to it that one job at a time trains this run")
        return handle
    # the one before may have removed the file that we opened; then its name stands for another file, or none
    if not lock.exists() or os.fstat(handle).st_ino != lock.stat().st_ino:
        os.close(handle)
        return None
    return handle


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
