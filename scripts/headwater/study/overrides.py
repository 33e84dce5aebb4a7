"""Values of single keys that a command line puts in place of those of the config file.

On the command line of Snakemake `--config set="sources.dino.training.lr=1e-3; seeds=[0, 1]"`, on that of `headwater`
`--set sources.dino.training.lr=1e-3 --set "seeds=[0, 1]"`. The result is checked like a file, and is what jobs work by.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import yaml

from headwater.core.errors import UserError, did_you_mean
from headwater.study import config_text

KEY, OPTION = "set", "--set"
"""The key under which Snakemake hands them on, and the option of `headwater`."""

OF_ENTRIES = ("archives", "reductions", "sources", "source_grids", "datasets", "recipes")
"""Sections whose entries have names of the user's choice: a misspelt one would be one more entry."""

BETWEEN = re.compile(r";\s*(?=[\w.+-]+=)")
"""What stands between two assignments in one text."""

EXAMPLE = "write KEY=VALUE, such as sources.dino.training.lr=1e-3"

_given: ContextVar[tuple[str, ...]] = ContextVar("assignments of the command line", default=())


@contextmanager
def given(assignments: Sequence[str]) -> Iterator[None]:
    """Within it, every config that is read has these values."""
    before = _given.set(tuple(assignments))
    try:
        yield
    finally:
        _given.reset(before)


def taken_from(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the other words, the assignments) of a command line."""
    others, assignments = [], []
    each = iter(words)
    for word in each:
        option, equals, value = word.partition("=")
        if option != OPTION:
            others.append(word)
        elif equals:
            assignments.append(value)
        else:
            # a missing assignment must not swallow the next option
            following = next(each, "")
            assignments.append("" if following.startswith("-") else following)
            others += [following] if following.startswith("-") else []
    return others, assignments


def for_snakemake() -> list[str]:
    """The words by which a Snakemake that this command starts works by the same values."""
    # as a block of YAML, for which Snakemake takes it, and from which it strips quotes
    return ["--config", f"{KEY}=|\n  {'; '.join(_given.get())}\n"] if _given.get() else []


def applied(content: dict[str, Any], *, file: Path | str) -> dict[str, Any]:
    """The content of a config with the values of the command line; the content itself stays as it is."""
    content = dict(content)
    text = content.pop(KEY, None) or ""
    if not isinstance(text, str):
        remedy = """put quotes around names and no space behind colons, as in KEY={"name":"mae"}"""
        raise UserError(f"{KEY}: must be text (got {text!r})", file=file, remedy=remedy)
    # split alike wherever it is given, as a command hands its own on to Snakemake in one text
    given = [*filter(None, [text.strip()]), *map(str.strip, _given.get())]
    for assignment in BETWEEN.split("; ".join(given)) if given else ():
        path, equals, value = assignment.partition("=")
        path = path.strip()
        if not equals or not all(path.split(".")) or "\n" in assignment:
            raise UserError(f"{KEY}: {assignment!r} is no assignment", file=file, remedy=EXAMPLE)
        content = _replaced(content, path, _read(value, path=path, file=file), done="", file=file)
    return content


def _read(value: str, *, path: str, file: Path | str) -> Any:
    """A value as it would be read in the file."""
    try:
        read = yaml.safe_load(value)
    except (ValueError, RecursionError, yaml.YAMLError):
        raise UserError(f"{KEY}: {path}: {value!r} is no YAML", file=file, remedy="write it as in the file") from None
    config_text.refuse_ambiguous_text(value, file=f"{file}: {KEY}: {path}")
    return read


def _replaced(entries: Any, path: str, value: Any, *, done: str, file: Path | str) -> dict[str, Any]:
    """A copy of entries in which a path below them has another value; an anchor of YAML may share the entries."""
    if entries is not None and not isinstance(entries, dict):
        remedy = f"give the whole of it: {done}=..."
        raise UserError(f"{KEY}: {done} has no keys of its own (it is {entries!r})", file=file, remedy=remedy)
    entries = entries or {}
    key, _, rest = path.partition(".")
    here = f"{done}.{key}" if done else key
    if not rest:
        return {**entries, key: value}
    if done in OF_ENTRIES and key not in entries:
        raise UserError(f"{KEY}: {done} has no {key}", file=file, remedy=did_you_mean(key, map(str, entries)))
    return {**entries, key: _replaced(entries.get(key), rest, value, done=here, file=file)}
