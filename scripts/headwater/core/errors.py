"""Errors that a user can mend: one line with the thing, the file and the remedy."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
"""How a full disk and a used-up quota say so."""

INTERRUPTED = 130
"""How a shell counts a command that was ended by Ctrl-C."""

MAKE_ROOM = "free some space, and the job goes on from what it has saved"


class UserError(Exception):
    """A mistake that the user can mend; commands print it as one line and exit with 2.

    `nameless` says the thing, and allows the remedy, without a case, a patient or what a cell holds: for a page that
    may leave the house.
    """

    def __init__(self, thing: str, *, file: Path | str | None = None, remedy: str = "", nameless: str = ""):
        self.file, self.remedy, self.nameless = file, remedy, nameless
        parts = [f"{file}: {thing}" if file else thing]
        if remedy:
            parts.append(remedy)
        super().__init__("; ".join(" ".join(part.split()) for part in parts))


@contextmanager
def exit_on_user_error(name: str) -> Iterator[None]:
    """A mistake of the user, or a full disk, as one line that begins with the name, and exit 2; 130 after Ctrl-C."""
    prefix = f"headwater {name}".rstrip()
    try:
        yield
    except UserError as mistake:
        _say_once(f"{prefix}: {mistake}")
        sys.exit(2)
    except KeyboardInterrupt:
        _say_once(f"{prefix}: interrupted")
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.errno not in FULL:
            raise
        print(f"{prefix}: {error}; {MAKE_ROOM}", file=sys.stderr, flush=True)
        sys.exit(2)


def _say_once(line: str) -> None:
    """Print a line from the first of all ranks of a torchrun job: the others have the same to say."""
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr, flush=True)


def need_checkout(file: Path) -> None:
    """Refuse what needs a file of the repository, where the library was installed without it."""
    if not file.is_file():
        raise UserError(
            f"this needs the workflow's file {file.name}, which is not part of the installed package",
            remedy="clone the repository, run `make setup` there and use its .venv/bin/headwater",
        )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The remedy for a misspelt word: the nearest known one, or the list of all."""
    # not at the top: the launcher of every training imports this module, and seldom has a mistake to report
    import difflib

    known = sorted(known)
    folded = {name.casefold(): name for name in reversed(known)}
    near = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.5)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    if not known:
        return "there is none to choose from"
    shown = known if len(known) <= 12 else [*known[:12], "..."]
    return "choose one of " + ", ".join(shown)
