"""The plan: every setting of the study that is not at its default, without folders of the user's."""

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from headwater.core.records import without_places
from headwater.reporting.artefacts import TableCard
from headwater.reporting.printed_table import PrintedTable, plain
from headwater.reporting.results import StudyResults

CARD = TableCard(place=150, section="study", formats=("html",))


def make(study: StudyResults) -> dict[str, PrintedTable]:
    """A line per setting, as `provenance.json` records them."""
    settings = without_places(json.loads(study.grid.as_json()))
    exact = pd.DataFrame(_settings(settings), columns=["Part of the study", "Setting", "Value"])
    return {"": PrintedTable(title="Plan", shown=exact, bold=plain(exact), exact=exact, words=tuple(exact))}


def _settings(content: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(part of the study, setting, value); each record of a list is a part of its own, told by its name."""
    for section, value in content.items():
        records = isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
        for entry in value if records else [value]:
            part = f"{section}: {entry['name']}" if records else section
            yield from ((part, key, inner) for key, inner in _flat(entry) if not (records and key == "name"))


def _flat(value: Any, *, key: str = "") -> Iterator[tuple[str, str]]:
    """(key with the keys above it, value as text) of each value that holds no others by name."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, key=f"{key}.{name}".lstrip("."))
    else:
        yield key, value if isinstance(value, str) else json.dumps(value)
