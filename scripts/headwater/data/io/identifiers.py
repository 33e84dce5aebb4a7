"""Identifiers of patients: which of them name no one, or name one person in two ways."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from headwater.core import characters

NO_ONE = {
    *("anonymised", "anonymized", "anonymous", "missing", "n.a.", "n/a", "na", "<na>", "nan", "nat", "nil", "none"),
    *("not available", "not known", "null", "undefined", "unknown"),
}
"""What tables hold in the place of a missing patient, whatever the case; besides it marks such as - and ?."""

ERROR = re.compile(r"#[A-Z/0]+[!?]|#N/A")
"""What a spreadsheet shows in the place of a value that it could not find or compute."""

WHOLE = re.compile(r"0*(\d+?)(?:\.0*)?")
"""A whole number; spreadsheets drop zeros before it, and programs that hold it as a float write .0 behind it."""

ROUNDED = re.compile(r"\d\.\d+E\+\d+")
"""What a spreadsheet makes of a whole number of more than eleven digits."""


class Flaw(NamedTuple):
    """Why identifiers cannot be told apart, or name no one."""

    names: frozenset[str]
    """All that have it."""
    what: str
    """The first of them, and what is wrong with it."""
    remedy: str
    nameless: str
    """What is wrong without the identifier."""


def flaws_of_patients(names: Iterable[str]) -> Iterator[Flaw]:
    """What is wrong with the identifiers of patients, in the order in which they are listed; "" is none."""
    known = [name for name in dict.fromkeys(names) if name]
    yield from unseen(known, what="patient")
    if absent := [name for name in known if _is_no_one(name)]:
        what = f"the patient {characters.quoted(absent[0])} names no one"
        yield Flaw(frozenset(absent), what, "name the patient, or leave these rows out", "a patient's name says no one")
    if rounded := [name for name in known if ROUNDED.fullmatch(name)]:
        what = f"the patient {rounded[0]!r} is a number that a spreadsheet has rounded"
        remedy = "format the column as text, and fill it in again"
        yield Flaw(frozenset(rounded), what, remedy, "a patient's number is rounded")
    if twice := _in_two_forms(known):
        name, other = next(iter(twice.items()))
        what = f"the patients {other!r} and {name!r} are one number in two forms"
        yield Flaw(frozenset(twice), what, "write each number in one form", "a patient's number is in two forms")


def unseen(names: Iterable[str], *, what: str) -> Iterator[Flaw]:
    """What is wrong with names that hold a character that is not drawn: they look like others."""
    found = {name: reason for name in dict.fromkeys(names) if (reason := characters.hidden(name))}
    if found:
        name, reason = next(iter(found.items()))
        shown = f"the {what} {characters.quoted(name)} {reason}, which is not visible"
        yield Flaw(frozenset(found), shown, "remove it", f"a {what} {reason}, which is not visible")


def _is_no_one(name: str) -> bool:
    return name.casefold() in NO_ONE or bool(ERROR.fullmatch(name)) or not any(map(str.isalnum, name))


def _in_two_forms(names: Iterable[str]) -> Mapping[str, str]:
    """Each whole number that is listed in an earlier form as well, with that form."""
    first: dict[str, str] = {}
    twice: dict[str, str] = {}
    for name in names:
        if number := WHOLE.fullmatch(name):
            form = first.setdefault(number[1], name)
            if form != name:
                twice[name] = form
    return twice
