"""Trackers: where the metrics of a training are logged; one file per file format or service.

A plug-in defines
    open(folder, *, training, tracking) -> Tracker
        folder    the only folder that it may write to, besides that of `Paths.tracking`
        training  a `Tracked`, which identifies the training
        tracking  the config's section `tracking`
        returns a `Tracker` that appends to what an earlier attempt at the same training logged
    add(folder, *, training, tracking, steps, summary) (optional)
        adds test values to what is shown of a finished training, in place of those added before
    EVERY_STEP: bool (optional)     whether it gets the training curves at every step; else at every tenth
Trackers run on the first rank only. Those listed in `tracking.also` are added to metrics.csv and TensorBoard. They are
closed in the order of opening, so that a later one may read what metrics.csv holds in the end.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headwater.study.grid import Run
from headwater.study.source import Source

EVERY = 10
"""Steps between two points of the training curves, for trackers without `EVERY_STEP`."""


def is_drawn(step: int, names: Iterable[str]) -> bool:
    """Whether what was measured after a step is shown by trackers without `EVERY_STEP`."""
    return step % EVERY == 0 or not all(name.startswith("training/") for name in names)


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A training's record, which all attempts at it share, and its names for people."""

    record: Run | Source
    group: str
    name: str
    job: str
    content: str = ""
    """The fingerprints of the files that the training reads."""
    machine: str = ""
    """The kind of device that it runs on, such as a GPU's model."""
    encoder: Path | None = None
    """The file of the encoder that it starts from; none for random weights."""


class Tracker(Protocol):
    """Receives the metrics of one training step by step; a subclass overrides only the methods that it needs."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log what was measured after a step."""

    def measured(self, step: int, values: dict[str, float]) -> None:
        """Log what the machine does up to a step: speed and memory, which no repetition gives again."""

    def rewind(self, step: int) -> None:
        """Remove what was logged after `step`: the training resumes there and repeats the steps after it."""

    def flush(self) -> None:
        """Write everything logged to disk, so that no checkpoint is ahead of it."""

    def summary(self, values: dict[str, float]) -> None:
        """Log results of the whole training."""

    def made(self, encoder: Path) -> None:
        """Tell of the encoder that a pre-training has saved."""

    def close(self, exit_code: int) -> None:
        """Close everything; 143 and 130 mean that the job was stopped and will be resumed."""
