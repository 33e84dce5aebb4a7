"""Windows: which Hounsfield units are shown as black and which as white, as a radiologist sets them for a CT.

A window is applied when images are loaded, so that another window needs no scan to be read again.
"""

from typing import Any

from pydantic import model_validator

from headwater.core.errors import did_you_mean
from headwater.core.records import Record

AIR = -1024
"""Hounsfield units outside of the scanned region."""

SLICE = "slice"
"""The window that goes from the lowest to the highest value of each slice."""


class Window(Record):
    """A range of `width` Hounsfield units around `centre`: values below it are black, values above it white.

    Or, with `slice`, each slice from its lowest to its highest value, as in arXiv 2410.14524.
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
        """A window may be given by its name."""
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
            raise ValueError("set either slice, or centre and width, not both")
        if not self.slice and (self.centre is None or self.width is None):
            raise ValueError("set centre and width, or give the name of a window")
        if not self.slice and not self.width > 0:
            raise ValueError(f"width must be > 0 (got {self.width:g})")
        return self


WINDOWS = {
    "abdomen": Window(centre=60, width=400),
    "angiography": Window(centre=300, width=600),
    "bone": Window(centre=300, width=1500),
    "brain": Window(centre=40, width=80),
    "chest": Window(centre=40, width=400),
    "lung": Window(centre=-400, width=1500),
}
"""Windows in Hounsfield units, as listed, but not used, in the code of arXiv 2410.14524."""
