"""Checkpoints: a training's private progress, as a file that is whole or absent, for one process at a time."""

import errno
import fcntl
import os
import pickle
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from headwater.core.errors import UserError
from headwater.core.files import whole
from headwater.training.ddp import World, any_rank

SECONDS_BETWEEN_TRIES = 1.0

PROBE_BYTES = 1 << 20
"""So many bytes are written to learn why torch could not write: on a full disk they do not fit."""


def save(contents: dict[str, Any], progress: Path, *, identity: str) -> None:
    """Write progress: tensors, numbers, text, and lists and dictionaries of them."""
    with whole(progress) as temporary:
        try:
            torch.save({"identity": identity, **contents}, temporary)
        except RuntimeError:
            # torch does not say why it failed; a plain write raises the system's own error, such as a full disk
            with temporary.open("ab") as file:
                file.write(bytes(PROBE_BYTES))
            raise


def load(progress: Path, *, identity: str) -> dict[str, Any] | None:
    """The progress that was saved under this identity, on the CPU; None where there is none.

    Progress of another identity is ignored, with a message.
    """
    if not progress.exists():
        return None
    try:
        contents = torch.load(progress, map_location="cpu", weights_only=True)
        saved_identity = contents.pop("identity")
    except (OSError, RuntimeError, EOFError, LookupError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"training checkpoint is corrupt or truncated ({type(error).__name__})",
            file=progress,
            remedy="delete it; the training then starts from its first step",
        ) from None
    if saved_identity != identity:
        say(f"{progress}: belongs to another training (other settings or data); starting from the first step")
        return None
    return contents


def forget(progress: Path) -> None:
    """Remove the progress of a training whose product is already in use, so that nothing resumes from it again."""
    progress.unlink(missing_ok=True)
    # what a training that was killed while it saved has left behind
    for unfinished in progress.parent.glob(f".{progress.name}.*"):
        unfinished.unlink(missing_ok=True)
    _lock_of(progress).unlink(missing_ok=True)


@contextmanager
def alone(progress: Path, *, world: World) -> Iterator[None]:
    """Hold the lock beside the progress file; wait, with a message, while another process holds it."""
    lock = _lock_of(progress)
    handle, waiting = None, False
    # all ranks agree at each try: a rank that waited alone would run into the others' timeout
    while any_rank(world.first and (handle := _taken(lock)) is None, world):
        if world.first and not waiting:
            say(f"{lock}: another job is training this run; waiting for it to end")
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
        say(f"{lock}: this file system has no locks; make sure that only one job trains this run")
        return handle
    # the previous holder may have removed the file that we opened; the name then belongs to another file, or to none
    if not lock.exists() or os.fstat(handle).st_ino != lock.stat().st_ino:
        os.close(handle)
        return None
    return handle


def say(line: str) -> None:
    """One line on the log, from the first rank."""
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr, flush=True)
