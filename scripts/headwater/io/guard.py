"""Runs decoders in a process of its own, so that a hostile image cannot hang, end or fill the memory of the work.

What has to be undone by C code (JPEG and its kin) goes through here: a file costs at most itself.
"""

import atexit
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from headwater.refusals import Refusal

SECONDS = 10
"""How long one file may take, besides a second for each `PACE` bytes of it."""

PACE = 2**20
"""Packed bytes that the slowest decoder does in a second on a slow machine, with room to spare."""

MEMORY = 2**31
"""Bytes that one file may take besides what the process holds before it comes."""

FILES = 500
"""After how many files the process is replaced, so that what a decoder leaks is given back."""


class Guard:
    """A process that does one piece of work after another and is replaced when one of them is its end."""

    def __init__(self) -> None:
        self.process, self.pipe, self.left = None, None, 0

    def run(self, work: Callable[..., Any], path: Path, **arguments: Any) -> Any:
        """What `work` makes of a file; refused if it crashes or takes too long or too much memory."""
        if self.left == 0:
            self._replace()
        self.left -= 1
        answered = False
        try:
            self.pipe.send((work, path, arguments))
            if not self.pipe.poll(SECONDS + path.stat().st_size // PACE):
                raise _fallen("takes its decoder too long", path)
            done, result = self.pipe.recv()
            answered = True
        except (EOFError, ConnectionError):
            raise _fallen("makes its decoder crash", path) from None
        finally:
            # the next file shall not get this one's answer
            if not answered:
                self.close()
        if not done:
            raise result
        return result

    def _replace(self) -> None:
        """Start afresh."""
        self.close()
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.left = FILES

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.pipe.close()
        self.process, self.pipe, self.left = None, None, 0


@cache
def guard() -> Guard:
    """The one guard of this process."""
    one = Guard()
    atexit.register(one.close)
    return one


def _fallen(what: str, path: Path) -> Refusal:
    """The refusal of a file that was the end of the process."""
    return Refusal(what, file=path, remedy="fetch it again, or convert it to Explicit VR Little Endian", nameless=what)


def _serve(pipe: Connection) -> None:
    """Do what comes through the pipe until its other end is gone; refusals go back like results."""
    # whoever stops the work by hand stops this process by closing the pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # decoders in C complain behind Python's back; what counts comes back as a refusal
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    _limit(MEMORY)
    while True:
        try:
            work, path, arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = (True, work(path, **arguments))
        except Refusal as refusal:
            answer = (False, refusal)
        pipe.send(answer)


def _limit(memory: int) -> None:
    """Let this process grow by so many bytes and no further, where the system can do that (Linux)."""
    told = Path("/proc/self/statm")
    if not told.exists():
        return
    held = int(told.read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = held + memory
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
