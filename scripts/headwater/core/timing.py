"""Time spent by a job, recorded beside its products and summed over interrupted attempts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.core import files


@contextmanager
def counted(file: Path, *, identity: str = "", writes: bool = True) -> Iterator[dict[str, Any]]:
    """Write the seconds spent in the block to FILE, with the entries that the block adds to the dictionary.

    Seconds of earlier, interrupted attempts with the same identity are added. An attempt that was killed (SIGKILL)
    could not record any.
    """
    began, before = time.monotonic(), _seconds_before(file, identity)
    entries: dict[str, Any] = {}
    finished = False
    try:
        yield entries
        finished = True
    finally:
        if writes:
            seconds = round(before + time.monotonic() - began, 3)
            files.write_json({**entries, "identity": identity, "finished": finished, "seconds": seconds}, file)


def _seconds_before(file: Path, identity: str) -> float:
    """Seconds of earlier, interrupted attempts with this identity."""
    if not identity or not file.is_file():
        return 0.0
    record = files.read_record(file)
    return record.get("seconds", 0.0) if record.get("identity") == identity and not record.get("finished") else 0.0


def seconds(file: Path) -> float | None:
    """The seconds recorded in a file; None if it is absent, as for jobs by older versions."""
    return files.read_record(file).get("seconds") if file.is_file() else None
