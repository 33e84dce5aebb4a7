"""Usual views of a kind of image, which `views.like` fills in: of photographs those of the method's paper."""

import contextlib
from typing import Any

from pydantic import ValidationError

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.study.recipe import OF_A_VIEW

RADIOGRAPHS = {
    "crop": 0.3,
    "flip": 0.5,
    "rotation": 10,
    "brightness": 0.4,
    "contrast": 0.4,
    "jitter": 0.8,
    "blur": 0.5,
}
"""Exposure and processing differ between machines, patients are turned a little, and a twelfth of a radiograph, as the
papers crop photographs, may show no organ. Nothing is inverted: that would be the other photometric kind."""

CT = {
    "crop": 0.3,
    "flip": 0.5,
    "rotation": 15,
    "brightness": 0.2,
    "contrast": 0.2,
    "jitter": 0.8,
    "blur": 0.5,
    "noise": 0.05,
}
"""Grey values are Hounsfield units, so they move less: as between two neighbouring windows. Kernels and dose differ."""

KINDS = {"radiographs": RADIOGRAPHS, "ct": CT}
"""The kinds of image whose views do not depend on the method."""


def made_of_each(method: Choice) -> int:
    """How many views of an image a method makes; refuses options that are wrong."""
    counts = registry.constant("methods", method.name, "VIEWS", default=(1,))
    options = registry.chosen("methods", method)
    return sum(getattr(options, count) if isinstance(count, str) else count for count in counts)


def filled_in(source: dict[str, Any]) -> dict[str, Any]:
    """A source of a config with the views that its `views.like` stands for; keys beside it go before them."""
    views, method = source.get("views"), source.get("method")
    if not isinstance(views, dict) or "like" not in views or not method:
        return source
    # what is wrong otherwise is told where it is checked
    with contextlib.suppress(UserError, ValidationError):
        chosen = Choice.model_validate(method)
        usual = _photographs(chosen) if views["like"] == "photographs" else KINDS.get(views["like"])
        if usual is not None:
            own = {key: value for key, value in views.items() if key != "like"}
            return {**source, "views": {**usual, **own}}
    return source


def _photographs(method: Choice) -> dict[str, Any] | None:
    """The views of a method's paper, with no more probabilities than it makes views; None if its file has none."""
    usual = registry.constant("methods", method.name, "PHOTOGRAPHS", default=None)
    if usual is None:
        return None
    count = made_of_each(method)
    return {
        key: value[:count] if key in OF_A_VIEW and isinstance(value, tuple) else value for key, value in usual.items()
    }
