"""Processes of this machine: whether one still lives, and which ones another has started."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

SAME_BIRTH = 2.0
"""Seconds by which two readings of one process' birth may differ: they move with the clock of the machine.

Numbers are given again only after thousands of other processes, so no second process with the number is as young.
"""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process that was alive when it was looked at."""

    number: int
    name: str
    session: int
    birth: float
    """In seconds since 1970."""

    @property
    def mark(self) -> str:
        """What tells it from every other process of this machine: its number and its birth."""
        return f"{self.number}@{self.birth:.2f}"

    @property
    def age(self) -> float:
        """Seconds since its birth."""
        return time.time() - self.birth


def process(number: int) -> Process | None:
    """The process with a number, if it lives; one that has ended and waits for its parent does not."""
    try:
        seen = psutil.Process(number)
        if seen.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return Process(number=number, name=seen.name(), session=os.getsid(number), birth=seen.create_time())
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None


def lives(mark: str) -> bool:
    """Whether the process with that mark still lives."""
    number, _, birth = mark.partition("@")
    living = process(int(number))
    return living is not None and abs(living.birth - float(birth)) < SAME_BIRTH


def of_session(session: int) -> Iterator[Process]:
    """The processes of a session but its first."""
    for living in map(process, psutil.pids()):
        if living and living.session == session != living.number:
            yield living


def standing_in(folder: str) -> Iterator[list[str]]:
    """The command lines of this user's other processes whose working folder that is."""
    for seen in psutil.process_iter():
        try:
            if seen.pid != os.getpid() and seen.cwd() == folder:
                yield seen.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
