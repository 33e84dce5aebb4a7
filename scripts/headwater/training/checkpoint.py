"""Checkpoints: the saved state of an unfinished training, written atomically, with a lock against a second job."""

import os
import pickle
import struct
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from headwater.core.errors import UserError
from headwater.core.files import whole
from headwater.core.locks import NoLocksError, try_lock
from headwater.training.ddp import World, any_rank

SECONDS_BETWEEN_TRIES = 1.0

DAMAGED = (
    *(OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError),
    *(pickle.UnpicklingError, struct.error, zipfile.BadZipFile),
)
"""What torch, pickle and zipfile raise on a damaged file, depending on where it is damaged."""

PROBE_BYTES = 1 << 20
"""How many bytes are written to find out why torch could not write: too many to fit on a full disk."""


def save(contents: dict[str, Any], progress: Path, *, identity: str) -> None:
    """Write a checkpoint atomically: tensors, numbers, text, and lists and dictionaries of them."""
    with whole(progress) as temporary:
        try:
            torch.save({"identity": identity, **contents}, temporary)
        except RuntimeError:
            # torch hides the system's error; a plain write raises it again, such as OSError for a full disk
            with temporary.open("ab") as file:
                file.write(bytes(PROBE_BYTES))
            raise


def load(progress: Path, *, identity: str) -> dict[str, Any] | None:
    """The checkpoint saved under this identity, on the CPU; None if there is none.

    A checkpoint of another identity (other settings or data) is ignored with a message.
    """
    if progress.is_dir():
        raise UserError("is a folder in the place of the training's checkpoint", file=progress, remedy="move it away")
    if not progress.exists():
        return None
    try:
        _refuse_changed(progress)
        # on the CPU, so that a training can resume on another device; weights_only, so that no code in the file runs
        contents = torch.load(progress, map_location="cpu", weights_only=True)
        saved_identity = contents.pop("identity")
    except DAMAGED as error:
        raise UserError(
            f"training checkpoint is corrupt or truncated ({type(error).__name__})",
            file=progress,
            remedy="delete it; the training then starts from its first step",
        ) from None
    if saved_identity != identity:
        print_once(f"{progress}: belongs to another training (other settings or data); starting from the first step")
        return None
    return contents


def _refuse_changed(progress: Path) -> None:
    """Compare the entries of a checkpoint with their checksums, which torch writes but does not read."""
    with zipfile.ZipFile(progress) as archive:
        if (entry := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{entry} has changed since it was written")


def forget(progress: Path) -> None:
    """Delete the checkpoint of a finished training, and its lock."""
    progress.unlink(missing_ok=True)
    # temporary files of a training that was killed while saving
    for unfinished in progress.parent.glob(f".{progress.name}.*"):
        unfinished.unlink(missing_ok=True)
    _lock_of(progress).unlink(missing_ok=True)


@contextmanager
def alone(progress: Path, *, world: World) -> Iterator[None]:
    """Hold the lock beside the checkpoint; wait, with a message, while another job holds it."""
    file = _lock_of(progress)
    waits = False
    with ExitStack() as locks:
        # all ranks decide together at each try: if only one waited, the others' collectives would time out
        while any_rank(world.first and not _acquired(file, locks), world):
            if world.first and not waits:
                print_once(f"{file}: another job is training this run; waiting for it to end")
            waits = True
            time.sleep(SECONDS_BETWEEN_TRIES)
        yield


def _lock_of(progress: Path) -> Path:
    return progress.with_name(progress.name + ".lock")


def _acquired(file: Path, locks: ExitStack) -> bool:
    """Whether this process now holds the lock; closing `locks` releases it."""
    try:
        lock = try_lock(file)
    except NoLocksError:
        print_once(f"{file}: this file system has no locks; make sure that only one job at a time trains this run")
        return True
    if lock is not None:
        locks.callback(lock.release)
    return lock is not None


def print_once(line: str) -> None:
    """Print a line to the log (stderr), on the first rank only."""
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr, flush=True)
