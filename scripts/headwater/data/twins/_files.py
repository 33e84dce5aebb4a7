"""Files of twins: tables, images, and sometimes a damaged image."""

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

DAMAGED_EVERY = 200
"""One image in so many is damaged in twins of archives that have such: half of the rejects that `prepare` allows by
default, and none in a smaller twin."""


def eight_bits(picture: np.ndarray) -> np.ndarray:
    """Brightness from 0 to 1 as uint8."""
    return np.rint(picture * 255).astype(np.uint8)


def write_table(header: Sequence[str], rows: Iterable[Sequence], path: Path) -> None:
    """A CSV file, compressed if its name ends in .gz; the same rows give the same bytes."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    content = text.getvalue().encode()
    # gzip writes the current time into its header unless another is given
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def damage(path: Path) -> None:
    """Truncate a file to half of its length."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
