"""Product lock: one job at a time writes a product, and beside the product stands with which settings it was made.

The lock is on a hidden file. The kernel releases it when the job ends in any way, so that a file that is left over
locks nothing. The record is another hidden file: who is writing, or, once the product is complete, its settings.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from headwater.cluster import snakemake_state
from headwater.core import files, processes
from headwater.core.errors import UserError
from headwater.core.locks import NoLocksError, try_lock

BETWEEN_TRIES = 1.0
"""Seconds between two tries to get a lock."""

PATIENCE = 120.0
"""Seconds in which a job that was asked to end must have saved and ended; then it is killed."""

SHELLS = {"sh", "bash", "dash", "zsh", "ksh"}


@contextmanager
def held(products: Iterable[Path], *, settings: dict[str, Any], verb: str, waits: bool = True) -> Iterator[None]:
    """Hold the locks of products while they are written, and record their settings when the block has succeeded.

    A job that a dead Snakemake has left behind on this machine is ended; any other is waited for, unless this job does
    not wait and so goes on without the lock.
    """
    # in one order, so that two jobs never wait for each other
    listed = sorted(set(products))
    with ExitStack() as locks:
        if not all(_take(product, locks, verb=verb, waits=waits) for product in listed):
            yield
            return
        for product in listed:
            files.write_json({"writer": _this_writer()}, _record_of(product))
        yield
        for product in listed:
            files.write_json({"settings": settings}, _record_of(product))


def settings_of(product: Path) -> dict[str, Any] | None:
    """The settings with which a product was made; none if it is not complete, or older than such records."""
    return _read(product).get("settings")


def _record_of(product: Path) -> Path:
    return product.with_name(f".{product.name}.made.json")


def _read(product: Path) -> dict[str, Any]:
    """The record beside a product; empty if there is none that can be read."""
    if not (file := _record_of(product)).exists():
        return {}
    with suppress(UserError):
        content = files.read_json(file)
        return content if isinstance(content, dict) else {}
    return {}


def _take(product: Path, locks: ExitStack, *, verb: str, waits: bool) -> bool:
    """Whether this job may write a product: at once, or after the end of the job that writes it."""
    asked_at = 0.0
    told = False
    while (lock := _lock(product)) is None:
        writer = _read(product).get("writer") or {}
        if _is_orphan(writer):
            number = int(writer["process"].partition("@")[0])
            if not asked_at:
                asked_at = time.monotonic()
                _say(verb, f"ending process {number}, which a Snakemake that has died left behind, and which", product)
                _send(number, signal.SIGTERM)
            elif time.monotonic() - asked_at > PATIENCE:
                _send(number, signal.SIGKILL)
        elif not waits:
            return False
        elif not told:
            told = True
            _say(verb, f"waiting for the end of {_name(writer)}, which", product)
        time.sleep(BETWEEN_TRIES)
    locks.callback(lock.release)
    return True


def _lock(product: Path) -> FileLock | None:
    """The lock of a product; none while another job holds it. A disk without locks gives one that locks nothing."""
    file = product.with_name(f".{product.name}.lock")
    try:
        return try_lock(file)
    except NoLocksError:
        return FileLock(file)


def _is_orphan(writer: dict[str, Any]) -> bool:
    """Whether a writer lives on this machine and the Snakemake that started it does not."""
    here = writer.get("host") == socket.gethostname() and writer.get("snakemake")
    return bool(here) and processes.lives(writer["process"]) and not processes.lives(writer["snakemake"])


def _this_writer() -> dict[str, Any]:
    """This job: its machine, the outermost of its processes, and the Snakemake that started it, if one did."""
    outermost, snakemake = processes.process(os.getpid()), None
    inside = True
    for running, words in processes.above():
        if snakemake_state.is_at_work(words):
            snakemake = running.mark
            break
        # torchrun, above the training, passes signals on; the shell above it does not
        inside = inside and running.name not in SHELLS
        outermost = running if inside else outermost
    mine = outermost if snakemake else processes.process(os.getpid())
    return {"host": socket.gethostname(), "process": mine.mark, "snakemake": snakemake}


def _name(writer: dict[str, Any]) -> str:
    """A writer in words."""
    if not writer:
        return "another job"
    return f"process {writer['process'].partition('@')[0]} on {writer['host']}"


def _send(number: int, what: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(number, what)


def _say(verb: str, what: str, product: Path) -> None:
    print(f"headwater {verb}: {what} writes {product}", file=sys.stderr, flush=True)
