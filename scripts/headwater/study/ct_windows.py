"""Windows: which Hounsfield units are shown as black and which as white, as a radiologist sets them at a CT.

A window is applied when images are loaded, so that another one asks for no scan to be read again.
"""

from typing import Any

from pydantic import model_validator

from headwater.core.errors import did_you_mean
from headwater.core.records import Record

AIR = -1024
"""Hounsfield units of what lies outside of every slice."""

SLICE = "slice"
"""What a config says for shades from the lowest to the highest value of each slice."""


class Window(Record):
    """The values that are shown: `width` of them around `centre`, what is below black, what is above white.

    Or, with `slice`, each slice from its lowest to its highest value, as arXiv 2410.14524 has it.
    """

    centre: float | None = None
    """Hounsfield units that are shown as middle grey."""
    width: float | None = None
    """Hounsfield units from black to white."""
    slice: bool = False
    """Whether each slice has a window of its own, from its lowest to its highest value."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        """A name stands for its window."""
        if not isinstance(value, str):
            return value
        if value == SLICE:
            return {"slice": True}
        if value not in WINDOWS:
            raise ValueError(f"there is no window {value!r}; {did_you_mean(value, [SLICE, *WINDOWS])}")
        return WINDOWS[value].model_dump()

    @model_validator(mode="after")
    def _one_way(self) -> "Window":
        if self.slice and (self.centre, self.width) != (None, None):
            raise ValueError("slice, or centre and width, and not both")
        if not self.slice and (self.centre is None or self.width is None):
            raise ValueError("say centre and width, or the name of a window")
        if not self.slice and not self.width > 0:
            raise ValueError(f"a window of width {self.width:g} shows nothing; a width above 0")
        return self


WINDOWS = {
    "abdomen": Window(centre=60, width=400),
    "angiography": Window(centre=300, width=600),
    "bone": Window(centre=300, width=1500),
    "brain": Window(centre=40, width=80),
    "chest": Window(centre=40, width=400),
    "lung": Window(centre=-400, width=1500),
}
"""Windows in Hounsfield units: those that the code of arXiv 2410.14524 lists, and leaves switched off."""
