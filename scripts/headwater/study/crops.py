"""Crops: `views.crop` of a pre-training as the option of its method that says the same.

A record then says it once, in one place, whichever of the two the config sets.
"""

from typing import Any

from headwater.core import registry


def option_of(method: Any) -> str | None:
    """The option of a method that says what `views.crop` says, if it has one; none for a method that does not exist."""
    return registry.option("methods", method, means="crop") if method in registry.names("methods") else None


def settled(entry: dict[str, Any]) -> dict[str, Any]:
    """A source or recipe of a config, with its `views.crop` where its method has it; without one that changes nothing.

    Where the method's own option is set beside it, both stay: one of them must go, which `idle_keys` says.
    """
    views = entry.get("views")
    # a bool is a number for Python; the records refuse it by name
    if not isinstance(views, dict) or type(crop := views.get("crop")) not in (int, float):
        return entry
    rest = {**entry, "views": {key: value for key, value in views.items() if key != "crop"}}
    method = _as_dictionary(entry.get("method"))
    option = option_of(method.get("name"))
    if option is None:
        # no cropping is the default here, and an entry that says so has the same digest as one that does not
        return rest if crop == 1 else entry
    if option in method or option in (method.get("options") or {}):
        return entry
    default = registry.options("methods", method["name"]).model_fields[option].get_default()
    value = [crop, *default[1:]] if isinstance(default, tuple) else crop
    if "options" in method:
        return {**rest, "method": {**method, "options": {**method["options"], option: value}}}
    return {**rest, "method": {**method, option: value}}


def _as_dictionary(method: Any) -> dict[str, Any]:
    """A method as a config gives it, by name or with options, as a dictionary; empty if it is neither."""
    if isinstance(method, str):
        return {"name": method}
    return method if isinstance(method, dict) and isinstance(method.get("options", {}), dict) else {}
