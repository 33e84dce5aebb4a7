"""Runs decoders in a process of its own, so that a hostile image cannot hang, end or fill the memory of the work.

What has to be undone by C code (JPEG and its kin) goes through here: a file costs at most itself.
"""

import atexit
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection, Pipe
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

START = """
import sys
from multiprocessing.connection import Connection
sys.path[:] = sys.argv[2:]
from headwater.io.guard import serve
serve(Connection(int(sys.argv[1])))
"""
"""What the process runs; what decoders in C complain of behind Python's back goes nowhere."""


class Guard:
    """A process that does one piece of work after another and is replaced when one of them is its end."""

    def __init__(self) -> None:
        self.process, self.pipe, self.left = None, None, 0
        self.lost = 0
        """how many files were the end of a process"""

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
                self.lost += 1
                self.close()
        if not done:
            raise result
        return result

    def _replace(self) -> None:
        """Start afresh; not by multiprocessing, which would run the user's script once more in the new process."""
        self.close()
        self.pipe, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-c", START, str(theirs.fileno()), *sys.path]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
        self.left = FILES

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
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


def serve(pipe: Connection) -> None:
    """Do what comes through the pipe until its other end is gone; refusals go back like results."""
    # whoever stops the work by hand stops this process by closing the pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
