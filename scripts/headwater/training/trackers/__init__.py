"""Trackers: where the metrics of a training are logged; one file per file format or service.

A plug-in defines
    open(folder, *, training, tracking) -> Tracker
        folder    the only folder that it may write to
        training  a `Tracked`, which identifies the training
        tracking  the config's section `tracking`
        returns a `Tracker` that appends to what an earlier attempt at the same training logged
    EVERY_STEP: bool (optional)     whether it gets the training curves at every step; else at every tenth
Trackers run on the first rank only. Those listed in `tracking.also` are added to metrics.csv and TensorBoard.
"""

from dataclasses import dataclass
from typing import Protocol

from headwater.core.records import Record


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A training's record, whose digest all attempts at it share, and its names for people."""

    record: Record
    group: str
    name: str
    job: str


class Tracker(Protocol):
    """Receives the metrics of one training step by step; a subclass overrides only the methods that it needs."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log what was measured after a step."""

    def rewind(self, step: int) -> None:
        """Remove what was logged after `step`: the training resumes there and repeats the steps after it."""

    def flush(self) -> None:
        """Write everything logged to disk, so that no checkpoint is ahead of it."""

    def summary(self, values: dict[str, float]) -> None:
        """Log results of the whole training."""

    def close(self, exit_code: int) -> None:
        """Close everything; 143 and 130 mean that the job was stopped and will be resumed."""
