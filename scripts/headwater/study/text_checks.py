"""Mistakes in the words of a config: names, labels, reasons and paths that cannot be shown, or be told apart."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from headwater.core import characters
from headwater.study.grid import EVERYTHING
from headwater.study.target import MEAN

if TYPE_CHECKING:
    from headwater.study.config import Config

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
"""Names become folder names and Snakemake wildcards."""

LONGEST_NAME = 60
"""Characters of a name: SLURM's executor makes one folder name, of at most 255, of the four of a run."""

NAMED = ("archives", "sources", "datasets", "recipes")
"""Sections whose entries carry their key as `name`."""

RESERVED = {"datasets": (MEAN, "the mean over labels"), "sources": ("chance", "guessing")}
"""A name of each section that tables use for something else."""


def mistakes(config: "Config") -> Iterable[str]:
    """One line for each word of a config that is no name, cannot be shown, or would be taken for another."""
    checks = (_bad_names, _reserved_names, _same_folders, _same_macros, _hidden_characters, _bad_labels, _bad_paths)
    return (line for check in checks for line in check(config))


def _bad_names(config: "Config") -> Iterable[str]:
    """Names that cannot be a folder, and seeds that are not distinct."""
    for section in (*NAMED, "reductions"):
        for name in getattr(config, section):
            yield from (f"{section}.{name}: {why}" for why in unfit(name))
    for section in NAMED:
        for name, entry in getattr(config, section).items():
            if entry.name != name:
                yield f"{section}.{name}.name: the key is the name; remove `name: {entry.name}`"
    if len(set(config.seeds)) < len(config.seeds) or min(config.seeds) < 0:
        yield f"seeds: must be distinct whole numbers >= 0 (got {list(config.seeds)})"


def _reserved_names(config: "Config") -> Iterable[str]:
    """Names that mean something else in tables, or in every config."""
    if config.reductions.get("everything", EVERYTHING) != EVERYTHING:
        yield "reductions.everything: the name is reserved for the whole corpus; choose another name"
    for section, (reserved, meaning) in RESERVED.items():
        for name in getattr(config, section):
            if name.casefold() == reserved:
                yield f"{section}.{name}: the name is reserved for {meaning}; choose another name"


def unfit(name: str) -> Iterator[str]:
    """Why a name cannot be that of a folder, a wildcard or a row."""
    if not re.fullmatch(NAME, name):
        yield "use letters, digits, _ and - in names"
    elif len(name) > LONGEST_NAME:
        yield f"the name has {len(name)} characters; use at most {LONGEST_NAME}"


def _same_folders(config: "Config") -> Iterable[str]:
    """Names of one section that differ in case only: some file systems would take both for one folder."""
    sections = {section: list(getattr(config, section)) for section in (*NAMED, "reductions")}
    sections["sources"] += [f"{name}_{control}" for control, names in config.controls for name in names]
    sections["reductions"] += ["everything"]
    for section, names in sections.items():
        for name, same in _in_case_only(names):
            yield f"{section}.{name}: differs from {same} in case only, and names are folders; rename one of them"


def _same_macros(config: "Config") -> Iterable[str]:
    """Names of targets and subsets that differ in case only: their rows stand in one table."""
    subsets = list(config.comparison.subsets)
    for name, same in _in_case_only(subsets):
        yield f"comparison.subsets.{name}: differs from {same} in case only; rename one of them"
    for dataset, asked in config.datasets.items():
        for name, same in _in_case_only([*subsets, *asked.targets]):
            if name in asked.targets:
                yield f"datasets.{dataset}.targets.{name}: differs from {same} in case only; rename one of them"


def _in_case_only(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name, an earlier one) for each name that differs from an earlier one in case only."""
    first: dict[str, str] = {}
    for name in names:
        if (same := first.setdefault(name.casefold(), name)) != name:
            yield name, same


def _hidden_characters(config: "Config") -> Iterable[str]:
    """Text with characters that are not drawn, or that reorder what is."""
    labels = {place for place, _ in _places_of_labels(config)}
    for place, text in _texts(config.model_dump(), ()):
        # labels have a check of their own
        if place not in labels and (unseen := characters.hidden(text)):
            yield f"{place}: {characters.quoted(text)} {unseen}, which is not visible; remove it"


def _texts(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(place, text) of every text in a value, keys included; entries of a list have the place of the list."""
    if isinstance(value, str):
        yield ".".join(place), value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(str(key), place)
            yield from _texts(inner, (*place, str(key)))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, place)


def _places_of_labels(config: "Config") -> Iterator[tuple[str, tuple[str, ...]]]:
    """(place, labels) for each list of labels."""
    for name, dataset in config.datasets.items():
        yield f"datasets.{name}.labels", dataset.labels
        for target, asked in dataset.targets.items():
            yield f"datasets.{name}.targets.{target}.labels", asked.labels
    for name, source in config.sources.items():
        for key, probe in source.probes.items():
            yield f"sources.{name}.{key}.labels", probe.labels
    for name, by_dataset in config.comparison.subsets.items():
        for dataset, labels in by_dataset.items():
            yield f"comparison.subsets.{name}.{dataset}", labels


def _bad_labels(config: "Config") -> Iterable[str]:
    """Labels that tables and figures cannot show, or that a reader would take for another."""
    for place, labels in _places_of_labels(config):
        yield from (f"{place}: {why}" for why in unfit_labels(labels))
    for name, dataset in config.datasets.items():
        holders = [set(asked.labels) for asked in dataset.targets.values()]
        for pair in characters.alike(dataset.listed) if holders else ():
            # within one target they are reported above
            if not any(set(pair) <= labels for labels in holders):
                yield f"datasets.{name}.targets: {_alike(*pair)}"


def unfit_labels(labels: Iterable[str]) -> Iterator[str]:
    """What is wrong with labels that one table shows."""
    labels = list(labels)
    for label in labels:
        if flaw := characters.flaw(label):
            yield f"the label {characters.quoted(label)} {flaw}"
        elif re.match(rf"{MEAN}($|:)", characters.as_read(label)):
            yield f"the label {characters.quoted(label)} is reserved for the mean over labels; rename it"
    yield from (_alike(*pair) for pair in characters.alike(labels))


def _alike(one: str, other: str) -> str:
    return (
        f"the labels {characters.quoted(one)} and {characters.quoted(other)} look alike: they differ only in case,"
        " spaces or the alphabet of a letter; rename one of them"
    )


def _bad_paths(config: "Config") -> Iterable[str]:
    """Paths that Snakemake would take for patterns, or a command for an option."""
    for place, path in _paths(config):
        if "{" in path or "}" in path:
            yield f"{place}: {path} has a brace, which Snakemake takes for a wildcard; rename it"
        if path.startswith("-"):
            yield f"{place}: {path} begins with -, as options do; write ./{path}"


def _paths(config: "Config") -> Iterator[tuple[str, str]]:
    """(place, path) for each path of input files."""
    for name, archive in config.archives.items():
        yield f"archives.{name}.folder", archive.folder
        if isinstance(table := archive.kind.options.get("table"), str):
            yield f"archives.{name}.kind.table", table
    for name, source in config.sources.items():
        if source.weights:
            yield f"sources.{name}.weights.path", source.weights.path
