"""Records: small frozen forms that say what shall be done, printable on a command line and hashed by content."""

import hashlib
import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator


class Record(BaseModel):
    """A frozen, keyword-only form; unknown fields are refused.

    Fields at their default are left out of `as_json` and so of `digest`: a new field with a default changes no
    existing record, and repeats no finished job.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)

    def as_json(self) -> str:
        """This record as one line of JSON, keys sorted, defaults left out."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record that `as_json` printed."""
        return cls.model_validate_json(text)

    @property
    def digest(self) -> str:
        """Eight hex digits of SHA-256 over `as_json`."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()[:8]


class Choice(Record):
    """A plug-in by name, with its options; YAML may say just the name, or the name and options side by side."""

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
