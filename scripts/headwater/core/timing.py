"""Spent: how long a job was at work, noted beside what it made, over all attempts that could say so."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.core import files


@contextmanager
def counted(file: Path, *, identity: str = "", writes: bool = True) -> Iterator[dict[str, Any]]:
    """Note the seconds of the block in FILE, with what the block puts into the dictionary.

    Seconds of earlier attempts at the same work, by its identity, that were stopped before their end are counted in; a
    process that was killed outright could note none.
    """
    began, before = time.monotonic(), _before(file, identity)
    told: dict[str, Any] = {}
    finished = False
    try:
        yield told
        finished = True
    finally:
        if writes:
            seconds = round(before + time.monotonic() - began, 3)
            files.write_json({**told, "identity": identity, "finished": finished, "seconds": seconds}, file)


def _before(file: Path, identity: str) -> float:
    """Seconds of earlier attempts at work that is not finished."""
    if not identity or not file.is_file():
        return 0.0
    told = files.read_json(file)
    return told["seconds"] if told["identity"] == identity and not told["finished"] else 0.0


def seconds(file: Path) -> float | None:
    """What a file tells; none where nobody noted it, as before headwater did."""
    return files.read_json(file)["seconds"] if file.is_file() else None
