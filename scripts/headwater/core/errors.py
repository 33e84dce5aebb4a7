"""Errors that a user can correct: one line with the thing, the file and the remedy."""

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from headwater.core.characters import visible
from headwater.core.interruption import INTERRUPTED

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and an exhausted quota."""

FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Error numbers of a file or folder that may not be read or written."""

MORE_MEMORY = "ask for more (mem_mb of the rule), or for smaller images or batches"

OF_THE_FILE = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EINVAL, errno.EOVERFLOW, errno.EFBIG, errno.ENOMEM),
)
"""Error numbers of a path that leads to no file, and of damaged files that claim impossible positions or sizes."""

UNNAMED = "cannot be read"
"""The kind of a mistake whose message may name a case and has no other words."""

Result = TypeVar("Result")

MAKE_ROOM = "free some space, and the job goes on from what it has saved"
MEND_PERMISSIONS = "check the permissions of the file and of its folder"
MEND_DISK = "check the disk or the network share, then run it again"


class UserError(Exception):
    """A mistake that the user can correct; commands print it as one line and exit with 2.

    `nameless` is the message without any case, patient or cell content, for pages that may leave the institution.
    """

    several: tuple[str, ...] = ()
    """The mistakes one by one, if it tells more than one."""

    def __init__(self, thing: str, *, file: Path | str | None = None, remedy: str = "", nameless: str = ""):
        self.thing, self.file, self.remedy, self.nameless = thing, file, remedy, nameless
        parts = [f"{file}: {thing}" if file else thing]
        if remedy:
            parts.append(remedy)
        super().__init__("; ".join(visible(" ".join(part.split())) for part in parts))

    @property
    def kind(self) -> str:
        """What is wrong without any name, so that mistakes of one kind can be counted and shown to others."""
        return self.nameless or UNNAMED

    @property
    def mistakes(self) -> tuple[str, ...]:
        """The mistakes one by one."""
        return self.several or (str(self),)

    @property
    def printed(self) -> str:
        """What a command prints: one line, or the number of mistakes and below it a line for each."""
        if not self.several:
            return str(self)
        where = f"{self.file}: " if self.file else ""
        return "\n  ".join([f"{where}{len(self.several)} mistakes:", *self.several])


class DiskError(UserError):
    """The disk, the network or a permission keeps a file from being read: work stops, as the file may be whole."""


def stop_if_disk(error: BaseException, *, file: Path | str) -> None:
    """Raise a DiskError if the system refuses to read a file that is there; do nothing if the file is to blame."""
    # libraries raise OSError on damaged bytes, too, but only the system gives a number
    if not isinstance(error, OSError) or error.errno is None or error.errno in OF_THE_FILE:
        return
    what = f"cannot be read: {os.strerror(error.errno)}"
    remedy = MAKE_ROOM if error.errno in FULL else MEND_PERMISSIONS if error.errno in FORBIDDEN else MEND_DISK
    raise DiskError(what, file=file, remedy=remedy, nameless=what) from None


def together(mistakes: Iterable[str], *, file: Path | str | None = None, nameless: str = "") -> UserError:
    """One error for several mistakes: as text in one line, printed in a line each."""
    each = tuple(" ".join(mistake.split()) for mistake in mistakes)
    count = f"{len(each)} mistakes: " if len(each) > 1 else ""
    error = UserError(count + "; ".join(each), file=file, nameless=nameless)
    error.several = each if len(each) > 1 else ()
    return error


def all_of(*checks: Callable[[], Result]) -> list[Result]:
    """The results of all checks; if some refuse, one error with the mistakes of all of them."""
    results, refusals = [], []
    for check in checks:
        try:
            results.append(check())
        except UserError as refusal:
            refusals.append(refusal)
    if len(refusals) == 1:
        raise refusals[0]
    if refusals:
        nameless = [refusal.nameless for refusal in refusals]
        mistakes = [mistake for refusal in refusals for mistake in refusal.mistakes]
        raise together(mistakes, nameless="; ".join(nameless) if all(nameless) else "")
    return results


@contextmanager
def about(file: Path | str) -> Iterator[None]:
    """Let a refusal that names no file name this one, which what is refused was read from."""
    try:
        yield
    except UserError as refusal:
        if refusal.file or refusal.several:
            raise
        raise UserError(refusal.thing, file=file, remedy=refusal.remedy, nameless=refusal.nameless) from None


@contextmanager
def exit_on_user_error(name: str) -> Iterator[None]:
    """Print a UserError, or that a disk is full or closed, as one line, and exit 2; 130 after Ctrl-C."""
    prefix = f"headwater {name}".rstrip()
    try:
        yield
    except UserError as mistake:
        _print_once(f"{prefix}: {mistake.printed}")
        sys.exit(2)
    except KeyboardInterrupt:
        _print_once(f"{prefix}: interrupted")
        sys.exit(INTERRUPTED)
    except MemoryError as error:
        _print_once(f"{prefix}: not enough memory: {' '.join(str(error).split()) or 'an array'}; {MORE_MEMORY}")
        sys.exit(2)
    except OSError as error:
        if error.errno not in FULL + FORBIDDEN:
            raise
        remedy = MAKE_ROOM if error.errno in FULL else MEND_PERMISSIONS
        print(f"{prefix}: {error}; {remedy}", file=sys.stderr, flush=True)
        sys.exit(2)


def check_memory(error: Exception) -> None:
    """Raise MemoryError if a file could not be read for want of memory: it is not damaged, and must not be deleted."""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        raise MemoryError(str(error)) from None


def _print_once(line: str) -> None:
    """Print a line on the first rank of a torchrun job only, because all ranks have the same message."""
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr, flush=True)


def need_checkout(file: Path) -> None:
    """Refuse a command that needs a file of the repository if the library was installed without it."""
    if not file.is_file():
        raise UserError(
            f"this needs the workflow's file {file.name}, which is not part of the installed package",
            remedy="clone the repository, run `make setup` there and use its .venv/bin/headwater",
        )


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The remedy for a misspelt word: the most similar choice, or the list of all."""
    # not at the top: the launcher of every training imports this module, and seldom has a mistake to report
    import difflib

    choices = sorted(choices)
    # reversed, so that of two choices that differ only in case the first one wins
    folded = {name.casefold(): name for name in reversed(choices)}
    similar = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.5)
    if similar:
        return f"did you mean {folded[similar[0]]!r}?"
    if not choices:
        return "there is none to choose from"
    shown = choices if len(choices) <= 12 else [*choices[:12], "..."]
    return "choose one of " + ", ".join(shown)
