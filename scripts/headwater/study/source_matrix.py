"""Source grids: every combination of a list of methods, corpora, reductions and trainings, as sources."""

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
"""The keys in which sources of a grid differ, and the list that each value is taken from."""


class SourceGrid(Record):
    """Sources pre-trained here by each method, on each corpus, with each reduction, for each training."""

    pattern: str = "{reduction}_{method}_{corpus}"
    """Names of the sources: `{method}`, `{corpus}`, `{reduction}` and `{training}` stand for their names."""
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
        mistakes = list(self._mistakes())
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _mistakes(self) -> Iterable[str]:
        """Duplicates in the lists, and patterns that give several sources the same name."""
        for plural in ("corpora", "reductions"):
            for name, count in Counter(getattr(self, plural)).items():
                if count > 1:
                    yield f"{plural}: {name} is listed {count} times; remove the duplicates"
        for key in sorted(set(LISTS.values()) & set(self.each)) + sorted(set(LISTS) & set(self.each)):
            yield f"each.{key}: the lists set it; remove it"
        try:
            parts = [part for part in string.Formatter().parse(self.pattern) if part[1] is not None]
        except ValueError as error:
            yield f"pattern: {error} (got {self.pattern!r})"
            return
        used = {name for _, name, _, _ in parts}
        for name in sorted(used - set(LISTS)):
            yield f"pattern: there is no {{{name}}}; {did_you_mean(name, LISTS)}"
        if any(form or conversion for _, _, form, conversion in parts):
            yield f"pattern: names are inserted unformatted (got {self.pattern!r}); remove what follows : or !"
        for name, plural in LISTS.items():
            if name not in used and len(getattr(self, plural)) > 1:
                yield f"pattern: several sources would have one name; add {{{name}}}"

    def sources(self) -> dict[str, dict[str, str]]:
        """Each source's name, with its entry of each list."""
        entries = [getattr(self, plural) for plural in LISTS.values()]
        combinations = [dict(zip(LISTS, names, strict=True)) for names in itertools.product(*entries)]
        return {self.pattern.format(**combination): combination for combination in combinations}


def _named(name: Any, entry: Any) -> Any:
    """A method's options with their key as the name of the method, unless they name one."""
    if entry is None:
        return str(name)
    return {"name": str(name), **entry} if isinstance(entry, dict) and "name" not in entry else entry


Places = dict[str, dict[str, str]]
"""By source: the grid that it comes from (`grid`), and its entry of each list."""


def expanded(content: dict[str, Any]) -> tuple[dict[str, Any], Places]:
    """A config's content with the sources of its grids added to `sources`, and the place that each came from.

    A malformed grid adds none: its mistakes are reported when the config is validated.
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
        for source, combination in form.sources().items():
            # a source that is written out wins; `clashes` reports it
            if source not in whole:
                whole[source] = _source(form, entry, combination)
                places[source] = {"grid": str(name), **combination}
    return {**content, "sources": whole}, places


def _source(form: SourceGrid, entry: dict[str, Any], combination: dict[str, str]) -> dict[str, Any]:
    """One source as a config would define it."""
    named = {key: combination[key] for key in ("corpus", "reduction")}
    method = form.methods[combination["method"]].model_dump(mode="json")
    # as written, without the defaults of `Training`: the optimiser's usual weight decay is filled in later
    training = dict(entry["trainings"][combination["training"]])
    return {**form.each, "method": method, **named, "training": training}


def clashes(grids: dict[str, SourceGrid], *, sources: Iterable[str], places: Places) -> Iterable[str]:
    """One line for each source of a grid whose name another source has."""
    taken = set(sources)
    for name, form in grids.items():
        for source in form.sources():
            if source in taken and places.get(source, {}).get("grid") != name:
                yield f"source_grids.{name}: the name {source} is taken by a source; choose another pattern"


def located(lines: list[str], places: Places) -> list[str]:
    """Messages about generated sources as messages about the entry of the grid to correct, each once."""
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
    """The place in a grid that sets a key of one of its sources."""
    first, dot, rest = key.partition(".")
    if first in LISTS:
        entry = f"{LISTS[first]}.{where[first]}"
        return f"source_grids.{where['grid']}.{entry}{dot}{rest}"
    return f"source_grids.{where['grid']}.each.{key}" if key else f"source_grids.{where['grid']}"
