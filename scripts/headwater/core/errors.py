"""Errors that a user can mend: one line with the thing, the file and the remedy."""

import difflib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
"""How a full disk and a used-up quota say so."""

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
    """A refusal, or a full disk, as one line that begins with the name, and exit 2."""
    try:
        yield
    except UserError as refusal:
        # every rank of a torchrun job meets the same refusal; one of them says it
        if os.environ.get("RANK", "0") == "0":
            print(f"headwater {name}: {refusal}", file=sys.stderr, flush=True)
        sys.exit(2)
    except OSError as error:
        if error.errno not in FULL:
            raise
        print(f"headwater {name}: {error}; {MAKE_ROOM}", file=sys.stderr, flush=True)
        sys.exit(2)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The remedy for a misspelt word: the nearest known one, or the list of all."""
    known = sorted(known)
    folded = {name.casefold(): name for name in reversed(known)}
    near = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.5)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    if not known:
        return "there is none to choose from"
    shown = known if len(known) <= 12 else [*known[:12], "..."]
    return "choose one of " + ", ".join(shown)
