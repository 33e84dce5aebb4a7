"""Runs work in a process of its own, so that a file on which its decoder crashes or hangs costs only itself.

C code that reads a hostile file can do that, or fill the memory, and Python cannot catch it. Such code runs under
`limited`, which notes the file first: if the process ends, the note names the file, and the case is done again with
that file refused.
"""

import atexit
import math
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from headwater.core.errors import UserError

PATIENCE = 300
"""Seconds of the clock after which a process that does not start, or a decoder that idles, counts as standing still."""

FILES = 500
"""Files under limits after which a process is replaced, so that the memory that a decoder leaks is given back."""

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Each thread of a numerical library takes address space, which on a machine of many processors would be the files'."""

CRASHES = "makes its decoder crash"
ENDS = {signal.SIGXCPU: "takes its decoder too long", signal.SIGALRM: "brings its decoder to a standstill"}
"""What a file did, by the signal that ended the process while the file was decoded; CRASHES for any other end."""

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
"""Signals by which the system, when memory is short, or a person ends a process; the case is then done again, once."""

START = """
import sys
from multiprocessing.connection import Connection
sys.path[:] = sys.argv[3:]
from headwater.core.guarded_process import serve
serve(Connection(int(sys.argv[1])), note=int(sys.argv[2]))
"""


class GuardedProcess:
    """A process that does one case after the other and is replaced when one of them ends it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen | None = None
        self.lock = threading.Lock()
        self.busy = self.stopped = False
        self.decoded = 0
        """files that the present process has had under limits"""
        self.ended = 0
        """processes that a case has ended"""

    def run(self, work: Callable[[Any], Any], cases: list[Any], *, lost: Callable[[Any], Any]) -> list[Any]:
        """What `work` makes of each case, or raises; `lost(case)` where one ends the process outside of `limited`."""
        results: list[Any] = []
        refused: dict[str, str] = {}
        killed: set[int] = set()
        with self.lock:
            if self.busy or self.decoded >= FILES or (self.process and self.process.poll() is not None):
                # at work for a call that broke off, worn out, or gone
                self.close()
            while len(results) < len(cases):
                if not self.busy:
                    self._send(work, cases[len(results) :], refused)
                try:
                    is_done, value, self.decoded = self.pipe.recv()
                except (EOFError, ConnectionError):
                    file, what, code = self._end()
                    if -code in FROM_OUTSIDE and len(results) not in killed:
                        # not by what the case does, unless it happens twice
                        killed.add(len(results))
                    elif file:
                        refused[file] = what
                    else:
                        results.append(lost(cases[len(results)]))
                    continue
                if not is_done:
                    # after a refusal the process waits for other cases, after an error it ends
                    self.busy = isinstance(value, WorkError)
                    raise value
                results.append(value)
                self.busy = len(results) < len(cases)
        return results

    def _send(self, work: Callable[[Any], Any], cases: list[Any], refused: dict[str, str]) -> None:
        """Give cases to the process."""
        if self.process is None:
            self._start()
        self.busy = True
        # a process that ends meanwhile is noticed when its answer is awaited
        with suppress(ConnectionError):
            self.pipe.send((work, cases, refused))

    def _end(self) -> tuple[str, str, int]:
        """The file that was under limits when the process ended, or "", what it did, and the exit code."""
        if self.stopped:
            raise NoProcessError("the worker process was stopped")
        # in case that the code closed the pipe and lives on; to a process that has ended this does nothing
        self.process.kill()
        code = self.process.wait()
        what = ENDS.get(-code, CRASHES)
        file = os.fsdecode(os.pread(self.note.fileno(), 2**16, 0))
        self.ended += 1
        self.close()
        return file, what, code

    def _start(self) -> None:
        """Start a process; not by multiprocessing, which would run the user's script again in it."""
        try:
            # a file and not a message: it can be read after the process has ended, and nobody need receive it before
            self.note = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with the process)
            self.pipe, theirs = Pipe()
            with theirs:
                fds = [theirs.fileno(), self.note.fileno()]
                command = [sys.executable, "-c", START, *map(str, fds), *sys.path]
                self.process = subprocess.Popen(command, pass_fds=fds, env=os.environ | ONE_THREAD)
        except OSError as error:
            # no file is broken where the machine has no process, descriptor or temporary file left
            raise NoProcessError(f"a worker process cannot be started: {error}") from None
        if self.stopped:
            self.process.kill()
        try:
            if not self.pipe.poll(PATIENCE):
                raise EOFError
            self.pipe.recv_bytes()
        except (EOFError, ConnectionError):
            self.close()
            raise NoProcessError("a worker process does not start; if it printed why, that stands above") from None

    def stop(self) -> None:
        """End the process for good, even while another thread waits for it."""
        self.stopped = True
        if self.process is not None:
            self.process.kill()

    def close(self) -> None:
        """End the process; the next case starts another."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.pipe.close()
            self.note.close()
        self.process, self.busy, self.decoded = None, False, 0


class NoProcessError(Exception):
    """No process can be started; no OSError or RuntimeError, which readers take for a broken file."""


class WorkError(Exception):
    """What work that was done in another process raised, with its traceback; a UserError comes back as it is."""


def of_this_process() -> GuardedProcess:
    """The one guarded process of this process, and not that of the process that it was forked from."""
    return _of_process(os.getpid())


@cache
def _of_process(number: int) -> GuardedProcess:
    """The guarded process of a process, which ends with it."""
    guarded = GuardedProcess()
    atexit.register(guarded.close)
    return guarded


class _Worker:
    """What a guarded process knows of itself."""

    def __init__(self, note: int):
        self.number = os.getpid()
        self.note = note
        self.refused: dict[str, str] = {}
        self.decoded = 0
        self.stderr, self.nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)


_worker: _Worker | None = None
"""Set where this process is a guarded one: not by an environment variable, which its children would inherit."""


def is_guarded() -> bool:
    """Whether this process is a guarded one; a fork of it is not."""
    return _worker is not None and _worker.number == os.getpid()


def serve(pipe: Connection, *, note: int) -> None:
    """Do the cases that come through the pipe, and send each result as soon as it is there."""
    global _worker
    # whoever stops the work by hand stops this process by closing the pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in ENDS:
        # a parent that ignores them would hand that down
        signal.signal(number, signal.SIG_DFL)
    # the core dump of a process that holds a large series would fill the disk
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    _worker = _Worker(note)
    sys.excepthook = partial(_report, pipe)
    pipe.send_bytes(b"ready")
    for parcel in _parcels(pipe):
        work, cases, _worker.refused = pickle.loads(parcel)
        for case in cases:
            try:
                answer = (True, work(case))
            except UserError as refusal:
                answer = (False, refusal)
            pipe.send((*answer, _worker.decoded))
            if not answer[0]:
                break


def _report(pipe: Connection, _: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    """Send what ends this process to the other end: as text, because not every error can be pickled."""
    with suppress(ConnectionError):
        pipe.send((False, WorkError("".join(traceback.format_exception(error))), _worker.decoded))


def _parcels(pipe: Connection) -> Iterator[bytes]:
    """What comes through the pipe, until its other end is gone."""
    with suppress(EOFError, ConnectionError):
        while True:
            yield pipe.recv_bytes()


class Limits(NamedTuple):
    """What decoding one file may take."""

    seconds: float
    """of CPU time, not of the clock: whether a file can be read must not depend on what else the machine does"""
    memory: int
    """bytes besides what the process holds already, such as the slices of a series before this one"""
    patience: float = PATIENCE
    """seconds of the clock besides those"""


@contextmanager
def limited(file: Path, *, limits: Limits, remedy: str) -> Iterator[None]:
    """Let C code work on a file under limits, which are lifted afterwards; only in a guarded process.

    What the code prints of its own accord goes nowhere. A file that has ended a process is refused.
    """
    if what := _worker.refused.get(os.fspath(file)):
        raise UserError(what, file=file, remedy=remedy, nameless=what)
    _worker.decoded += 1
    try:
        with ExitStack() as lifted:
            # the note comes first and goes last, so that no limit ends the process without it
            os.pwrite(_worker.note, os.fsencode(file), 0)
            lifted.callback(os.ftruncate, _worker.note, 0)
            # the descriptor itself, because C code does not write to sys.stderr
            os.dup2(_worker.nowhere, 2)
            lifted.callback(os.dup2, _worker.stderr, 2)
            signal.setitimer(signal.ITIMER_REAL, limits.seconds + limits.patience)
            lifted.callback(signal.setitimer, signal.ITIMER_REAL, 0)
            lifted.enter_context(_limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + limits.seconds)))
            if (held := _held()) is not None:
                lifted.enter_context(_limit(resource.RLIMIT_AS, held + limits.memory))
            yield
    except MemoryError:
        what = "takes its decoder too much memory"
        raise UserError(what, file=file, remedy=remedy, nameless=what) from None


@contextmanager
def _limit(kind: int, wanted: int) -> Iterator[None]:
    """Lower a limit of this process for a while, as far as it is free to."""
    before, most = resource.getrlimit(kind)
    # only the soft limit: a hard one could not be raised again
    resource.setrlimit(kind, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))
    try:
        yield
    finally:
        resource.setrlimit(kind, (before, most))


def _held() -> int | None:
    """Bytes of address space that this process holds; None where the system does not tell (all but Linux)."""
    sizes = Path("/proc/self/statm")
    return int(sizes.read_text().split()[0]) * resource.getpagesize() if sizes.exists() else None
