"""How twins write their files: tables, pictures, and now and then a picture that is damaged."""

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

DAMAGED_EVERY = 200
"""Of so many pictures one is damaged, where the archive has such: half of what `prepare` allows unless told otherwise,
and none in a smaller twin."""


def eight_bits(picture: np.ndarray) -> np.ndarray:
    """Brightness from 0 to 1 as uint8."""
    return np.rint(picture * 255).astype(np.uint8)


def write_table(header: Sequence[str], rows: Iterable[Sequence], path: Path) -> None:
    """A CSV file, compressed if its name ends so; the same rows give the same bytes."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    content = text.getvalue().encode()
    # without the time of day that a compressed file else bears
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def damage(path: Path) -> None:
    """Cut a file off in its middle."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
