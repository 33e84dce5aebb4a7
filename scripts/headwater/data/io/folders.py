"""Finds files below a folder: through links, without running in circles, and by names that disks write differently.

Preparation and the doctor walk folders by the same function, so that one never misses what the other reads.
"""

import os
import stat
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

from headwater.core.errors import UserError, stop_if_disk


def files_below(folder: Path) -> Iterator[Path]:
    """The files below a folder and below what it links to, each folder once, in the order of their paths."""
    walked = set()
    for place, below, files in os.walk(folder, followlinks=True, onerror=_refuse):
        here = os.path.realpath(place)
        if here in walked:
            below.clear()
            continue
        walked.add(here)
        below.sort()
        yield from (Path(place, file) for file in sorted(files))


def is_special(path: Path) -> bool:
    """Whether a path leads to a pipe, a socket or a device, from which reading may never begin or never end."""
    try:
        mode = path.stat().st_mode
    except OSError:
        # absent or not to be read, as whoever opens it will be told
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def refuse_special(path: Path) -> None:
    """Refuse what `is_special` before it is opened."""
    if is_special(path):
        what = "is a pipe, a socket or a device, not a file"
        raise UserError(what, file=path, remedy="put the file there, or take it off the list", nameless=what)


def entries(folder: Path) -> list[Path]:
    """What lies in the folder, by name; nothing if it is none. Refused if the disk does not list it."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        _refuse(error)
        return []


def folders_in(folder: Path, *, named: str = "*") -> list[Path]:
    """The folders in the folder, by name, of those that match a pattern."""
    return [entry for entry in entries(folder) if entry.match(named) and entry.is_dir()]


def in_one_folder(folder: Path, names: Iterable[str]) -> list[str]:
    """Each file name as the folder spells its ending, `.dcm` or `.DCM`; unchanged if no such file is there."""
    present = {entry.name for entry in entries(folder)}
    spelt = {_small(name): name for name in present}
    return [name if name in present else spelt.get(name, name) for name in names]


def pictures_below(folder: Path, *, endings: Collection[str], remedy: str, within: str = "") -> dict[str, str]:
    """The path of each picture below the folder, or those in it that match `within`, by its file name as `composed`.

    An ending in capitals is found by small letters, too. Refused if there is no picture.
    """
    places = folder.glob(within) if within else [folder]
    files = sorted(file for place in places for file in files_below(place) if file.suffix.lower() in endings)
    pictures = {composed(file.name): str(file.relative_to(folder)) for file in files}
    if not pictures:
        raise UserError("has no images", file=folder, remedy=remedy, nameless="has no images")
    # a file that has the name exactly wins
    return {_small(name): file for name, file in pictures.items()} | pictures


def _small(name: str) -> str:
    """A file name with its ending in small letters."""
    return str(Path(name).with_suffix(Path(name).suffix.lower()))


def composed(name: str) -> str:
    """A name with accented letters as one character each (NFC); macOS and some archives write them as two (NFD)."""
    return unicodedata.normalize("NFC", name)


def as_on_disk(folder: Path, names: Iterable[str]) -> list[str]:
    """Each path below the folder as the disk writes it: it may differ in how accented letters are composed."""

    @cache
    def entries(place: Path) -> dict[str, list[str]]:
        spellings: dict[str, list[str]] = {}
        for entry in sorted(place.iterdir()) if place.is_dir() else []:
            spellings.setdefault(composed(entry.name), []).append(entry.name)
        return spellings

    def on_disk(name: str) -> str:
        # plain names have one form, and an exact match always wins
        if name.isascii() or os.path.lexists(folder / name):
            return name
        place = folder
        for part in Path(name).parts:
            present = entries(place).get(composed(part), [])
            place = place / (part if part in present or len(present) != 1 else present[0])
        return str(place.relative_to(folder))

    return [on_disk(name) for name in names]


def _refuse(error: OSError) -> None:
    """Stop at a folder that may not be listed; one that has vanished meanwhile is no fault."""
    stop_if_disk(error, file=error.filename)
