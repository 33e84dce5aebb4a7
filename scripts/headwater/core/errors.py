"""Errors that a user can correct: one line with the thing, the file and the remedy."""

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and an exhausted quota."""

FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Error numbers of a file or folder that may not be read or written."""

INTERRUPTED = 130
"""A shell's exit code for a command ended by Ctrl-C."""

Result = TypeVar("Result")

MAKE_ROOM = "free some space, and the job goes on from what it has saved"


class UserError(Exception):
    """A mistake that the user can correct; commands print it as one line and exit with 2.

    `nameless` is the message without any case, patient or cell content, for pages that may leave the institution.
    """

    several: tuple[str, ...] = ()
    """The mistakes one by one, if it tells more than one."""

    def __init__(self, thing: str, *, file: Path | str | None = None, remedy: str = "", nameless: str = ""):
        self.file, self.remedy, self.nameless = file, remedy, nameless
        parts = [f"{file}: {thing}" if file else thing]
        if remedy:
            parts.append(remedy)
        super().__init__("; ".join(" ".join(part.split()) for part in parts))

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
def exit_on_user_error(name: str) -> Iterator[None]:
    """Print a UserError, or that a disk is full or closed, as one line with the name, and exit 2; 130 after Ctrl-C."""
    prefix = f"headwater {name}".rstrip()
    try:
        yield
    except UserError as mistake:
        _print_once(f"{prefix}: {mistake.printed}")
        sys.exit(2)
    except KeyboardInterrupt:
        _print_once(f"{prefix}: interrupted")
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.errno not in FULL + FORBIDDEN:
            raise
        remedy = MAKE_ROOM if error.errno in FULL else "check the permissions of the file and of its folder"
        print(f"{prefix}: {error}; {remedy}", file=sys.stderr, flush=True)
        sys.exit(2)


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
