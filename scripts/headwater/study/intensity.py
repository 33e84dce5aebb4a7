"""Intensity: how the values of volumes without Hounsfield units, such as those of MR, are shown to networks.

It is applied when volumes are loaded, so that another choice repeats trainings, but no preparation.
"""

from typing import Any

from pydantic import model_validator

from headwater.core.records import Record

ZSCORE = "zscore"
"""The choice in which each volume has mean 0 and standard deviation 1, over its voxels above the background."""


class Intensity(Record):
    """Each volume in units of its own: z-scores, or from 0 at one percentile to 1 at another."""

    zscore: bool = False
    """Whether a volume's mean becomes 0 and its standard deviation 1, both over voxels above the background."""
    percentiles: tuple[float, float] | None = None
    """Percentiles of the voxels above the background that become 0 and 1, such as [0.5, 99.5]; values beyond them are
    cut off."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        """Z-scores may be given by their name."""
        if not isinstance(value, str):
            return value
        if value != ZSCORE:
            raise ValueError(f"there is no intensity {value!r}; write {ZSCORE}, or {{percentiles: [0.5, 99.5]}}")
        return {"zscore": True}

    @model_validator(mode="after")
    def _one_way(self) -> "Intensity":
        if self.zscore == bool(self.percentiles):
            raise ValueError(f"set either {ZSCORE} or percentiles")
        if self.percentiles and not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"percentiles must rise, from 0 to 100 at most (got {list(self.percentiles)})")
        return self
