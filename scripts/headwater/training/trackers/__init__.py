"""Trackers: where the curves of a training are written; one file per kind of file or service.

A plug-in holds
    open(folder, *, training, tracking) -> Tracker
        folder    where its files go, and nowhere else
        training  a `Tracked`: what it may tell of the training
        tracking  the config's section `tracking`
        gives a `Tracker`; what it has noted before, in an earlier attempt at the same training, stays
    EVERY_STEP: bool (optional)     whether it gets the training curves at each step; else at every tenth
Trackers run on the first rank alone. Those that a config names in `tracking.also` join metrics.csv and TensorBoard.
"""

from dataclasses import dataclass
from typing import Protocol

from headwater.core.records import Record


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A training by its record, whose digest tells attempts at the same one, and by names for people."""

    record: Record
    group: str
    name: str
    job: str


class Tracker(Protocol):
    """What receives the values of one training, step by step; a subclass leaves out what it need not do."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Note what was measured after a step."""

    def rewind(self, step: int) -> None:
        """Take back what was noted after `step`: the training resumes from there."""

    def flush(self) -> None:
        """Bring all that was noted to the disk, so that no saved progress can be ahead of it."""

    def summary(self, values: dict[str, float]) -> None:
        """Note results of the whole training."""

    def close(self, exit_code: int) -> None:
        """Close everything; 143 means that the job was stopped and will be resumed."""
