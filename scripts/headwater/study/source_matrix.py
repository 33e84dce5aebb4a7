"""Source grids: many sources that differ by method, corpus, reduction and training, written down as four lists."""

import itertools
import string
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pydantic
from pydantic import Field, field_validator, model_validator

from headwater.core.errors import did_you_mean
from headwater.core.records import Choice, Record
from headwater.study.recipe import Training

LISTS = {"method": "methods", "corpus": "corpora", "reduction": "reductions", "training": "trainings"}
"""What a source of a grid has one of, and the list that it stands in."""


class SourceGrid(Record):
    """Sources pre-trained here by each method, on each corpus, with each reduction, for each training."""

    pattern: str = "{reduction}_{method}_{corpus}"
    """What a source is called: `{method}`, `{corpus}`, `{reduction}` and `{training}` stand for their names."""
    methods: dict[str, Choice] = Field(min_length=1)
    """Methods (files in methods/): a list of names; or by a name of your choice, with options."""
    corpora: tuple[str, ...] = Field(min_length=1)
    """The archives whose training splits are learned from."""
    reductions: tuple[str, ...] = Field(("everything",), min_length=1)
    """Which of their images: names under `reductions`."""
    trainings: dict[str, Training] = Field(min_length=1)
    """How long and how fast, by a name of your choice; equal epochs and equal steps are two."""
    each: dict[str, Any] = {}
    """What else each of the sources says, such as `backbone`, `views` or `start`; see the table of `sources`."""

    @field_validator("methods", mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """Names alone, and options without the name that they stand under."""
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            return {name: name for name in value}
        if isinstance(value, dict):
            return {name: _named(name, entry) for name, entry in value.items()}
        return value

    @model_validator(mode="after")
    def _one_name_each(self) -> "SourceGrid":
        wrong = list(self._mistakes())
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _mistakes(self) -> Iterable[str]:
        """Names that a list has twice, and patterns that give one name to several sources."""
        for plural in ("corpora", "reductions"):
            for name, count in Counter(getattr(self, plural)).items():
                if count > 1:
                    yield f"{plural}: {name} stands there {count} times; take it out"
        for key in sorted(set(LISTS.values()) & set(self.each)) + sorted(set(LISTS) & set(self.each)):
            yield f"each.{key}: what the lists say; leave it out"
        try:
            parts = [part for part in string.Formatter().parse(self.pattern) if part[1] is not None]
        except ValueError as error:
            yield f"pattern: {error} (got {self.pattern!r})"
            return
        used = {name for _, name, _, _ in parts}
        for name in sorted(used - set(LISTS)):
            yield f"pattern: there is no {{{name}}}; {did_you_mean(name, LISTS)}"
        if any(form or conversion for _, _, form, conversion in parts):
            yield f"pattern: names go in as they are (got {self.pattern!r}); leave out what follows : or !"
        for name, plural in LISTS.items():
            if name not in used and len(getattr(self, plural)) > 1:
                yield f"pattern: gives one name to several sources; put {{{name}}} into it"

    def sources(self) -> dict[str, dict[str, str]]:
        """For the name of each source which of the lists' entries it has."""
        entries = [getattr(self, plural) for plural in LISTS.values()]
        chosen = [dict(zip(LISTS, names, strict=True)) for names in itertools.product(*entries)]
        return {self.pattern.format(**which): which for which in chosen}


def _named(name: Any, entry: Any) -> Any:
    """A method's options with the name that they stand under, unless they say another."""
    if entry is None:
        return str(name)
    return {"name": str(name), **entry} if isinstance(entry, dict) and "name" not in entry else entry


Places = dict[str, dict[str, str]]
"""By source: the grid that it is of (`grid`), and its entry of each list."""


def expanded(content: dict[str, Any]) -> tuple[dict[str, Any], Places]:
    """A config's content with the sources of its grids among its own, and where each of them comes from.

    A grid that is not well formed is left as it is: what is wrong with it is told when the config is checked.
    """
    grids, sources = content.get("source_grids"), content.get("sources", {})
    if not isinstance(grids, dict) or not isinstance(sources, dict):
        return content, {}
    whole, places = dict(sources), {}
    for name, entry in grids.items():
        try:
            form = SourceGrid.model_validate(entry)
        except pydantic.ValidationError:
            continue
        for source, which in form.sources().items():
            if source not in whole:
                whole[source] = _source(form, entry, which)
                places[source] = {"grid": str(name), **which}
    return {**content, "sources": whole}, places


def _source(form: SourceGrid, entry: dict[str, Any], which: dict[str, str]) -> dict[str, Any]:
    """One source as a config would say it."""
    named = {key: which[key] for key in ("corpus", "reduction")}
    method = form.methods[which["method"]].model_dump(mode="json")
    return {**form.each, "method": method, **named, "training": dict(entry["trainings"][which["training"]])}


def clashes(grids: dict[str, SourceGrid], *, sources: Iterable[str], places: Places) -> Iterable[str]:
    """Sources of a grid whose name another source has already."""
    taken = set(sources)
    for name, form in grids.items():
        for source in form.sources():
            if source in taken and places.get(source, {}).get("grid") != name:
                yield f"source_grids.{name}: a source is called {source} already; choose another pattern"


def told(lines: list[str], places: Places) -> list[str]:
    """Complaints about sources of a grid as one each about the grid's entry that is to be mended."""
    rewritten = {}
    for line in lines:
        place, colon, rest = line.partition(": ")
        section, _, inner = place.partition(".")
        source, _, key = inner.partition(".")
        if section == "sources" and source in places:
            place = _place(key, places[source])
        rewritten[f"{place}{colon}{rest}"] = None
    return list(rewritten)


def _place(key: str, where: dict[str, str]) -> str:
    """The entry of a grid that a key of one of its sources comes from."""
    first, dot, rest = key.partition(".")
    if first in LISTS:
        entry = f"{LISTS[first]}.{where[first]}"
        return f"source_grids.{where['grid']}.{entry}{dot}{rest}"
    return f"source_grids.{where['grid']}.each.{key}" if key else f"source_grids.{where['grid']}"
