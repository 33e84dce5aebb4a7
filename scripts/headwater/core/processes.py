"""What the kernel says of processes: whether one still lives, and which ones another has started.

Linux and the standard library only. A process is known by its number and its birth, because numbers are given again.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROCESSES = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process that was alive when it was looked at."""

    number: int
    name: str
    session: int
    birth: int
    """In ticks since the machine was started."""

    @property
    def mark(self) -> str:
        """What tells it from every other process of this machine since it was started."""
        return f"{self.number}@{self.birth}"

    @property
    def age(self) -> float:
        """Seconds since its birth."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.birth / os.sysconf("SC_CLK_TCK")


def process(number: int) -> Process | None:
    """The process with a number, if it lives."""
    try:
        text = (PROCESSES / str(number) / "stat").read_text()
    except OSError:
        return None
    # the name stands in brackets, and may hold any character
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    if fields[0] in "ZX":
        return None
    return Process(number=number, name=name, session=int(fields[3]), birth=int(fields[19]))


def lives(mark: str) -> bool:
    """Whether the process with that mark still lives."""
    found = process(int(mark.partition("@")[0]))
    return found is not None and found.mark == mark


def of_session(session: int) -> Iterator[Process]:
    """The processes of a session but its first."""
    numbers = (int(folder.name) for folder in PROCESSES.iterdir() if folder.name.isdecimal())
    for found in map(process, numbers):
        if found and found.session == session != found.number:
            yield found
