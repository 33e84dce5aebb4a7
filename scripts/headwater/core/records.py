"""Records: frozen settings of a job that can be passed on a command line and are hashed by content."""

import ast
import hashlib
import inspect
import json
from itertools import pairwise
from pathlib import PurePath
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

PLACES = ("folder", "table")
"""Keys of records whose values are folders and tables on this machine."""


class Record(BaseModel):
    """A frozen model with keyword-only fields; unknown fields are refused.

    Fields at their default are left out of `as_json` and so of `digest`: adding a field with a default changes no
    existing digest and repeats no finished job.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def as_json(self) -> str:
        """This record as one line of JSON, keys sorted, defaults left out."""
        return json.dumps(plain(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record of a JSON text by `as_json`."""
        return cls.model_validate_json(text)

    @property
    def digest(self) -> str:
        """Eight hex digits of SHA-256 over `as_json`."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()[:8]


def explained(record: type[Record]) -> dict[str, str]:
    """What the docstring below each field of a record says, by field.

    pydantic can read them where a record is defined, but then looks through all loaded modules in every process: 0.1
    to 0.2 seconds, and half a second where torch was loaded before.
    """
    said = {}
    for form in reversed(record.__mro__):
        if issubclass(form, Record):
            [definition] = ast.parse(inspect.getsource(form)).body
            for field, text in pairwise(definition.body):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    said[field.target.id] = inspect.cleandoc(text.value.value)
    return said


def without_places(content: Any) -> Any:
    """A record's contents for others to see: no folder or table of the user's, and of other paths the last part only.

    Their names can be those of patients, and they say nothing where the archive's own name stands beside them.
    """
    if isinstance(content, dict):
        # a reduction or a subset may bear such a name, but then holds more than a text
        kept = {key: inner for key, inner in content.items() if key not in PLACES or not isinstance(inner, str)}
        return {key: _last_part(inner) if key == "path" else without_places(inner) for key, inner in kept.items()}
    return [without_places(inner) for inner in content] if isinstance(content, list) else content


def _last_part(path: Any) -> Any:
    return PurePath(path).name if isinstance(path, str) else path


class Choice(Record):
    """A plug-in by name, with its options; YAML may give only the name, or the name and options side by side."""

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "name" in value and "options" not in value:
            rest = {key: option for key, option in value.items() if key != "name"}
            return {"name": value["name"], "options": rest} if rest else value
        return value


def plain(value: Any) -> Any:
    """A record as JSON has it, defaults left out; a list of them likewise, and any other value as it is."""
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, Record) else value
