"""Checkpoints: a training's private progress, as a file that is whole or absent, for one process at a time."""

import os
import pickle
import sys
import time
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
    file = _lock_of(progress)
    waits = False
    with ExitStack() as held:
        # all ranks agree at each try: a rank that waited alone would run into the others' timeout
        while any_rank(world.first and not _taken(file, held), world):
            if world.first and not waits:
                say(f"{file}: another job is training this run; waiting for it to end")
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


def say(line: str) -> None:
    """One line on the log, from the first rank."""
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr, flush=True)
