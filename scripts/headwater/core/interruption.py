"""Interruption: Ctrl-C before a command has begun, or after it has ended, is one line and exit code 130.

So is what else would be a traceback before anything is imported: a Python without the libraries.
"""

import _signal
import os
import sys

# neither `signal` nor `pathlib`: while they are imported, Ctrl-C would still be a traceback

INTERRUPTED = 130
"""A shell's exit code for a command ended by Ctrl-C."""

ENTRY_POINT = "headwater"

NEEDED = "cyclopts"
"""A library without which no command works."""

SCRIPTS = os.path.abspath(f"{__file__}/../../..")
"""The folder of the library and of the scripts that Snakemake calls."""


def end_at_once() -> None:
    """From now on Ctrl-C ends the process with one line, unless something else was made of it, or it is ignored."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _end)


def refuse_other_python() -> None:
    """End with one line where the libraries are not installed for this Python, as outside of .venv."""
    # asked without `importlib.util`, for the same reason as above
    if not any(finder.find_spec(NEEDED, None) for finder in sys.meta_path):
        remedy = "run make setup, then: source .venv/bin/activate"
        os.write(2, f"headwater: its libraries are not installed for {sys.executable}; {remedy}\n".encode())
        os._exit(2)


def is_command() -> bool:
    """Whether this process runs `headwater` or one of the scripts beside the library."""
    script = getattr(sys.modules["__main__"], "__file__", None) or ""
    return os.path.basename(script) == ENTRY_POINT or os.path.dirname(os.path.realpath(script)) == SCRIPTS


class Raised:
    """Inside the block Ctrl-C is a KeyboardInterrupt, so that a command brings to an end what it has begun."""

    def __enter__(self):
        self._ended = _signal.getsignal(_signal.SIGINT) is _end
        if self._ended:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)

    def __exit__(self, *_: object):
        if self._ended:
            end_at_once()


def _end(*_: object) -> None:
    """End the process; an exception raised inside an import would be a traceback, or get lost."""
    if os.environ.get("RANK", "0") == "0":
        script = os.path.splitext(os.path.basename(sys.argv[0]))[0]
        os.write(2, f"{' '.join(dict.fromkeys((ENTRY_POINT, script)))}: interrupted\n".encode())
    os._exit(INTERRUPTED)
