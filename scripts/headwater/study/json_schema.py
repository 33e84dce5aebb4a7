"""The JSON schema of a config file as people write it, for editors and the workflow catalogue."""

from typing import Any

from headwater.study.config import UNWRITTEN, Config
from headwater.study.ct_windows import SLICE, WINDOWS
from headwater.study.intensity import ZSCORE

PAIR = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}


def schema() -> dict[str, Any]:
    """The JSON schema of a config file as people write it, for editors and the workflow catalogue."""
    content = Config.model_json_schema()
    forms = content["$defs"]
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
    # keys that `_filled_in` adds are not required in the file
    for form, added in (("Archive", "kind"), ("Source", "backbone"), ("Dataset", "archive"), ("Recipe", "")):
        for key in UNWRITTEN:
            forms[form]["properties"].pop(key, None)
        forms[form]["required"] = [key for key in forms[form]["required"] if key not in ("name", added)]
    for section in ("archives", "sources", "datasets"):
        entries = content["properties"][section]
        entries["additionalProperties"] = {"anyOf": [entries["additionalProperties"], {"type": "null"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **content}
