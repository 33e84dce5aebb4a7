"""Processes of this machine: whether a process is still running, and which ones belong to it."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

SAME_BIRTH = 2.0
"""Seconds by which two readings of a process's start time may differ, because they move with the machine's clock.

A process number is reused only after thousands of other processes, so no other process with it is that close in time.
"""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process that was running when it was looked up."""

    number: int
    name: str
    session: int
    birth: float
    """Start time in seconds since 1970."""

    @property
    def mark(self) -> str:
        """An identifier among all processes of this machine: number and start time."""
        return f"{self.number}@{self.birth:.2f}"

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.time() - self.birth


def process(number: int) -> Process | None:
    """The process with a number, None if it is not running (a zombie does not count)."""
    try:
        handle = psutil.Process(number)
        if handle.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return Process(number=number, name=handle.name(), session=os.getsid(number), birth=handle.create_time())
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None


def lives(mark: str) -> bool:
    """Whether the process with that mark is still running."""
    number, _, birth = mark.partition("@")
    running = process(int(number))
    return running is not None and abs(running.birth - float(birth)) < SAME_BIRTH


def above() -> Iterator[tuple[Process, list[str]]]:
    """The processes that this one descends from, and their command lines; the parent first."""
    for handle in psutil.Process().parents():
        try:
            running, words = process(handle.pid), handle.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return
        if running is None:
            return
        yield running, words


def of_session(session: int) -> Iterator[Process]:
    """The processes of a session except its leader."""
    for running in map(process, psutil.pids()):
        if running and running.session == session != running.number:
            yield running


def standing_in(folder: str) -> Iterator[list[str]]:
    """The command lines of this user's other processes that have this working directory."""
    for handle in psutil.process_iter():
        try:
            if handle.pid != os.getpid() and handle.cwd() == folder:
                yield handle.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
