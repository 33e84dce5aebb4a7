"""Runs decoders in a process of its own, so that a hostile image cannot hang, end or fill the memory of the work.

What has to be undone by C code (JPEG and its kin) goes through here: a file costs at most itself.
"""

import atexit
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from headwater.core.errors import UserError

SECONDS = 8
"""Seconds of a processor that one file may take, besides one for each `PACE` bytes of it.

Not seconds of the clock: whether a file can be read must not depend on what else a machine is busy with.
"""

PATIENCE = 300
"""Seconds of the clock after which a process that uses no processor, or does not start, has come to a standstill."""

PACE = 2**20
"""Packed bytes that the slowest decoder does in a second on a slow machine, with room to spare."""

MEMORY = 3 * 2**29
"""Bytes that one file may take besides what the process holds before it comes."""

FILES = 500
"""After how many files the process is replaced, so that what a decoder leaks is given back."""

START = """
import sys
from multiprocessing.connection import Connection
sys.path[:] = sys.argv[2:]
from headwater.data.io import decoding
from headwater.data.io.guard import serve
serve(Connection(int(sys.argv[1])))
"""
"""What the process runs; decoders are there before its memory is limited, so that a file has all that is promised.

What decoders in C complain of behind Python's back goes nowhere.
"""

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Each thread of a library takes address space, which would be the files' on a machine of many processors."""


class Guard:
    """A process that does one piece of work after another and is replaced when one of them is its end."""

    def __init__(self) -> None:
        self.process, self.pipe, self.left = None, None, 0
        self.lock = threading.Lock()
        self.lost = 0
        """how many files were the end of a process"""

    def run(self, work: Callable[..., Any], path: Path, **arguments: Any) -> Any:
        """What `work` makes of a file; refused if it crashes or takes too long or too much memory."""
        with self.lock:
            return self._run(work, path, arguments)

    def _run(self, work: Callable[..., Any], path: Path, arguments: dict[str, Any]) -> Any:
        """The same, by one thread at a time."""
        if self.left == 0:
            self._replace()
        self.left -= 1
        answered = False
        try:
            self.pipe.send((work, path, arguments, SECONDS + path.stat().st_size // PACE))
            if not self.pipe.poll(PATIENCE):
                raise _fallen("brings its decoder to a standstill", path)
            done, result = self.pipe.recv()
            answered = True
        except (EOFError, ConnectionError):
            too_long = self.process.wait() == -signal.SIGXCPU
            raise _fallen("takes its decoder too long" if too_long else "makes its decoder crash", path) from None
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
            self.process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL, env=os.environ | ONE_THREAD
            )
        if not self.pipe.poll(PATIENCE):
            raise RuntimeError("the process that decodes does not start")
        self.pipe.recv()
        self.left = FILES

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.pipe.close()
        self.process, self.pipe, self.left = None, None, 0


def guard() -> Guard:
    """The one guard of this process, and not that of the process that it was forked from."""
    return _guard_of(os.getpid())


@cache
def _guard_of(process: int) -> Guard:
    """The guard of a process, which ends with it."""
    one = Guard()
    atexit.register(one.close)
    return one


def _fallen(what: str, path: Path) -> UserError:
    """The refusal of a file that was the end of the process."""
    return UserError(
        what, file=path, remedy="fetch it again, or convert it to Explicit VR Little Endian", nameless=what
    )


def serve(pipe: Connection) -> None:
    """Do what comes through the pipe until its other end is gone; refusals go back like results."""
    # whoever stops the work by hand stops this process by closing the pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _lower(resource.RLIMIT_CORE, 0)
    _limit_memory()
    pipe.send("ready")
    while True:
        try:
            work, path, arguments, seconds = pipe.recv()
        except EOFError:
            return
        _lower(resource.RLIMIT_CPU, math.ceil(time.process_time() + seconds))
        try:
            answer = (True, work(path, **arguments))
        except UserError as refusal:
            answer = (False, refusal)
        pipe.send(answer)


def _limit_memory() -> None:
    """Let this process grow by `MEMORY` and no further, where the system can do that (Linux)."""
    told = Path("/proc/self/statm")
    if told.exists():
        _lower(resource.RLIMIT_AS, int(told.read_text().split()[0]) * resource.getpagesize() + MEMORY)


def _lower(kind: int, wanted: int) -> None:
    """Set a limit of this process, as far as it is free to."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
