"""metrics.csv: one row per step and metric, without times, so that a resumed training ends with the same file.

Speed and memory, which no repetition gives again, are in machine.csv beside it.
"""

import os
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from headwater.core.errors import UserError
from headwater.core.files import whole
from headwater.study.tracking import Tracking
from headwater.training.trackers import Tracked, Tracker

EVERY_STEP = True
HEADER = "step,name,value\n"
CURVES, MACHINE = "metrics.csv", "machine.csv"
GPU_MEMORY = "machine/gpu_memory_gib"
"""The most of a GPU that was allocated at once, by torch's own count, in GiB."""


class Tables(Tracker):
    """The two tables of a training."""

    def __init__(self, folder: Path):
        self.curves, self.machine = Table(folder / CURVES), Table(folder / MACHINE)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Append a row per value, with all its digits."""
        self.curves.log(step, values)

    def measured(self, step: int, values: dict[str, float]) -> None:
        """The same of what the machine does."""
        self.machine.log(step, values)

    def rewind(self, step: int) -> None:
        """Drop the rows of later steps."""
        for table in (self.curves, self.machine):
            table.rewind(step)

    def flush(self) -> None:
        """Write all rows to disk."""
        for table in (self.curves, self.machine):
            table.flush()

    def close(self, exit_code: int) -> None:
        """Close both files."""
        for table in (self.curves, self.machine):
            table.close(exit_code)


class Table(Tracker):
    """A table to which rows are appended."""

    def __init__(self, path: Path):
        self.path = path
        self._reopen()

    def log(self, step: int, values: dict[str, float]) -> None:
        """Append a row per value, with all its digits."""
        self.file.writelines(f"{step},{name},{value!r}\n" for name, value in values.items())

    def rewind(self, step: int) -> None:
        """Drop the rows of later steps."""
        self.file.close()
        kept = [line for line in self.path.read_text().splitlines(keepends=True)[1:] if _up_to(line, step)]
        with whole(self.path) as temporary:
            temporary.write_text(HEADER + "".join(kept))
        self._reopen()

    def flush(self) -> None:
        """Write all rows to disk."""
        self.file.flush()
        # flush only hands the rows to the operating system, which a power cut may stop
        os.fsync(self.file.fileno())

    def close(self, exit_code: int) -> None:
        """Close the file."""
        self.file.close()

    def _reopen(self) -> None:
        # unlike a rename, appending would follow a link and change the file that it leads to
        if self.path.is_symlink():
            raise UserError("is a link, and the curves would go into another file", file=self.path, remedy="remove it")
        if not self.path.exists() or not self.path.read_text().startswith(HEADER):
            self.path.write_text(HEADER)
        self.file = self.path.open("a", encoding="utf-8")


def open(folder: Path, *, training: Tracked, tracking: Tracking) -> Tables:
    """The tables of a training, open for further rows."""
    return Tables(folder)


def read(folder: Path, *, up_to: int, table: str = CURVES) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, values) of each step that a table in a folder has, up to one; nothing without a table."""
    path = folder / table
    lines = path.read_text().splitlines(keepends=True)[1:] if path.exists() else []
    cells = (line.strip().split(",") for line in lines if _up_to(line, up_to))
    for step, rows in groupby(cells, key=itemgetter(0)):
        yield int(step), {name: float(value) for _, name, value in rows}


def _up_to(line: str, step: int) -> bool:
    """Whether a row is complete and of no later step; a killed job may leave an incomplete one."""
    first = line.partition(",")[0]
    return line.endswith("\n") and first.isdecimal() and int(first) <= step
