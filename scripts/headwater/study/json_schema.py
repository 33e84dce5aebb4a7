"""The JSON schema of a config file as people write it, for editors and the workflow catalogue."""

from collections.abc import Iterator
from typing import Any, get_args

from headwater.core.records import Record, explained
from headwater.study.config import UNWRITTEN, Config
from headwater.study.ct_windows import SLICE, WINDOWS
from headwater.study.intensity import ZSCORE

PAIR = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}


def _records(record: type[Record]) -> Iterator[type[Record]]:
    """A record, and all that its fields hold."""
    yield record
    kinds = [field.annotation for field in record.model_fields.values()]
    while kinds:
        kind = kinds.pop()
        kinds += get_args(kind)
        if isinstance(kind, type) and issubclass(kind, Record):
            yield from _records(kind)


def schema() -> dict[str, Any]:
    """The JSON schema of a config file as people write it, for editors and the workflow catalogue."""
    content = Config.model_json_schema()
    forms = content["$defs"]
    for record in _records(Config):
        properties = forms.get(record.__name__, content)["properties"]
        for key, text in explained(record).items():
            properties[key] = dict(sorted({**properties[key], "description": text}.items()))
    methods = forms["SourceGrid"]["properties"]["methods"]
    names = {"type": "array", "items": {"type": "string"}}
    forms["SourceGrid"]["properties"]["methods"] = {
        "description": methods["description"],
        "anyOf": [names, {"type": "object", "additionalProperties": {"type": ["object", "string", "null"]}}],
    }
    forms["Choice"] = {
        "description": forms["Choice"]["description"],
        "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        ],
    }
    forms["Window"] = {
        "description": forms["Window"]["description"],
        "anyOf": [
            {"enum": [SLICE, *WINDOWS]},
            {
                "type": "object",
                "properties": {"centre": {"type": "number"}, "width": {"type": "number", "exclusiveMinimum": 0}},
                "required": ["centre", "width"],
                "additionalProperties": False,
            },
        ],
    }
    forms["Intensity"] = {
        "description": forms["Intensity"]["description"],
        "anyOf": [
            {"enum": [ZSCORE]},
            {"type": "object", "properties": {"percentiles": PAIR}, "required": ["percentiles"]},
        ],
    }
    kinds = forms["Loss"]["properties"]["kind"]["enum"]
    forms["Loss"] = {"description": forms["Loss"]["description"], "anyOf": [{"enum": kinds}, forms["Loss"]]}
    # keys that `_filled_in` adds are not required in the file
    for form, added in (("Archive", "kind"), ("Source", "backbone"), ("Dataset", "archive"), ("Recipe", "")):
        for key in UNWRITTEN:
            forms[form]["properties"].pop(key, None)
            forms["Tracking"]["properties"].pop(key, None)
            content["properties"]["tracking"]["default"].pop(key, None)
        forms[form]["required"] = [key for key in forms[form]["required"] if key not in ("name", added)]
    for section in ("archives", "sources", "datasets"):
        entries = content["properties"][section]
        entries["additionalProperties"] = {"anyOf": [entries["additionalProperties"], {"type": "null"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **content}
