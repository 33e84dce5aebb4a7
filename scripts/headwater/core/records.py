"""Records: frozen settings of a job that can be passed on a command line and are hashed by content."""

import ast
import hashlib
import inspect
import json
import math
import re
import sys
from itertools import pairwise
from pathlib import PurePath
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema

PLACES = ("folder", "table")
"""Keys of records whose values are folders and tables on this machine."""

POWER = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
"""A number such as 1e-3, which YAML 1.1 takes for text: to it 1.0e-3 is one."""

HIGHEST = 2**63 - 1
"""The highest whole number that NumPy and torch hold, and so the highest seed."""


def _whole(value: Any) -> Any:
    """A value for a whole number, unless it is a word or text, or nothing could count so far."""
    if isinstance(value, str) and POWER.fullmatch(value):
        raise ValueError(f"is a power of ten, which YAML takes for text; write it out (got {value})")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be finite (got {value})")
    checked = _number(value)
    if isinstance(checked, int) and abs(checked) > HIGHEST:
        raise ValueError(f"must be at most 2^63 - 1 (got {checked:.3g})")
    return checked


def _number(value: Any) -> Any:
    """A value for a number, unless it is a word, or text that would be converted."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number, not a word (got {str(value).lower()})")
    if isinstance(value, str) and not POWER.fullmatch(value) and _converts(value):
        raise ValueError(f"must be a number, not text (got {value!r}); write it without quotes or zeros before it")
    if isinstance(value, int) and value.bit_length() >= sys.float_info.max_exp:
        raise ValueError(f"must be finite (got a number of {value.bit_length()} bits)")
    return value


def _converts(text: str) -> bool:
    """Whether a text would become a number; any other is refused by pydantic."""
    try:
        float(text)
    except ValueError:
        return False
    return True


CHECKS = {"int": _whole, "float": _number}


def _checked(schema: dict) -> bool:
    """Whether a schema is one in which a number is looked at already."""
    return schema.get("type") == "function-before" and schema["function"]["function"] in CHECKS.values()


def _strict(schema: Any) -> Any:
    """A schema of pydantic in which each number is looked at before it is converted."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict) or _checked(schema):
        return schema
    kind = schema.get("type")
    if kind in CHECKS:
        return {"type": "function-before", "function": {"type": "no-info", "function": CHECKS[kind]}, "schema": schema}
    # keys of a mapping are text in JSON
    inner = {name: _strict(part) for name, part in schema.items() if name not in ("metadata", "default", "keys_schema")}
    if kind == "union":
        # else a mistake's place would have the name of the function
        inner["choices"] = [
            (new, old["type"]) if isinstance(old, dict) and old["type"] in (*CHECKS, "tuple") else new
            for old, new in zip(schema["choices"], inner["choices"], strict=True)
        ]
    return {**schema, **inner}


class Record(BaseModel):
    """A frozen model with keyword-only fields; unknown fields are refused.

    Fields at their default are left out of `as_json` and so of `digest`: adding a field with a default changes no
    existing digest and repeats no finished job. Numbers are finite, whole ones below 2^63, and neither words nor text
    are taken for them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of pydantic, which refuses for numbers what it would convert in silence."""
        return _strict(handler(source))

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
