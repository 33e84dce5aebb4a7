"""Mistakes in what a config calls things: titles that cannot be shown or told apart, and those of labels not there."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from headwater.core import characters
from headwater.core.errors import did_you_mean
from headwater.study.target import MEAN

if TYPE_CHECKING:
    from headwater.study.config import Config

LONGEST = {"title": 80, "short": 24}
"""Characters of a title, and of what stands on an axis."""


TAKEN = {"sources": "chance", "labels": MEAN}
"""What tables call something else in each section."""


def mistakes(config: "Config") -> Iterable[str]:
    """One line for each title or short name that tables and figures cannot show, or would show twice."""
    for section in ("sources", "datasets", "recipes", "labels"):
        entries = getattr(config, section)
        worded = {name: entry for name, entry in entries.items() if entry.title or entry.short}
        for name, entry in worded.items():
            yield from _unfit(f"{section}.{name}", title=entry.title, short=entry.short)
        names = dict.fromkeys([*entries, *(_listed(config) if section == "labels" else ())])
        full = {name: (name in worded and worded[name].title) or name for name in names}
        short = {name: (name in worded and worded[name].short) or full[name] for name in names}
        for called in (full, short):
            yield from _shared(section, called if worded else {})
    yield from _unknown_labels(config)


def _listed(config: "Config") -> list[str]:
    """The labels that datasets list."""
    return [label for dataset in config.datasets.values() for label in dataset.listed]


def _unfit(place: str, **words: str) -> Iterator[str]:
    """Why words cannot stand in a table or on an axis."""
    for key, said in words.items():
        if said and (flaw := characters.flaw(said)):
            yield f"{place}.{key}: {characters.quoted(said)} {flaw}"
        elif len(said) > LONGEST[key]:
            yield f"{place}.{key}: has {len(said)} characters; use at most {LONGEST[key]}"


def _shared(section: str, called: dict[str, str]) -> Iterator[str]:
    """Things of one section whose words a reader takes for the same."""
    taken = TAKEN.get(section)
    first = {taken: taken} if taken else {}
    for name, words in called.items():
        if (other := first.setdefault(characters.as_read(words), name)) != name:
            yield f"{section}.{name}: {characters.quoted(words)} is what {other} is called, too; choose other words"


def _unknown_labels(config: "Config") -> Iterator[str]:
    """Titles of labels that no dataset has, where all datasets list theirs."""
    known = _listed(config)
    for name in config.labels if all(dataset.listed for dataset in config.datasets.values()) else ():
        if name not in known:
            yield f"labels.{name}: no dataset has this label; {did_you_mean(name, known)}"
