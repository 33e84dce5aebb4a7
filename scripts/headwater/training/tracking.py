"""Tracking: passes the metrics of a training to every tracker in the config."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from headwater.core import registry
from headwater.study.grid import Run
from headwater.study.source import Source
from headwater.study.tracking import Tracking
from headwater.training.ddp import World, device_name
from headwater.training.trackers import Tracked, Tracker, is_drawn


class Trackers:
    """The trackers of one training, writing below `folder` on the first rank; a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        record: Run | Source,
        group: str,
        name: str,
        job: str,
        tracking: Tracking,
        world: World,
        content: str = "",
        encoder: Path | None = None,
    ):
        self.folder = Path(folder)
        names = {"group": group, "name": name, "job": job}
        files = {"content": content, "encoder": encoder}
        self.tracked = Tracked(record=record, machine=device_name(world.device), **files, **names)
        self.tracking = tracking
        self.names = tracking.trackers if world.first else ()
        self.opened: dict[str, Tracker] = {}

    def __enter__(self) -> Self:
        # if opening one fails, those already open are closed
        with ExitStack() as opening:
            opening.callback(self.close, 1)
            for name in self.names:
                self.folder.mkdir(parents=True, exist_ok=True)
                plugin = registry.load("trackers", name)
                self.opened[name] = plugin.open(self.folder, training=self.tracked, tracking=self.tracking)
            opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # SystemExit carries the exit code, 143 or 130 for a stopped training; any other error counts as 1
        stopped = isinstance(error, SystemExit) and isinstance(error.code, int)
        self.close(error.code if stopped else int(error is not None))

    def log(self, step: int, values: dict[str, float]) -> None:
        """Log what was measured after a step."""
        values = {name: float(value) for name, value in values.items()}
        drawn = is_drawn(step, values)
        for name, tracker in self.opened.items():
            if drawn or getattr(registry.load("trackers", name), "EVERY_STEP", False):
                tracker.log(step, values)

    def measured(self, step: int, values: dict[str, float]) -> None:
        """Log what the machine does up to a step."""
        for tracker in self.opened.values():
            tracker.measured(step, values)

    def rewind(self, step: int) -> None:
        """Remove what was logged after `step`, from which the training resumes."""
        for tracker in self.opened.values():
            tracker.rewind(step)

    def flush(self) -> None:
        """Write everything logged to disk, so that no checkpoint is ahead of it."""
        for tracker in self.opened.values():
            tracker.flush()

    def summary(self, values: dict[str, float]) -> None:
        """Log results of the whole training."""
        for tracker in self.opened.values():
            tracker.summary(values)

    def made(self, encoder: Path) -> None:
        """Tell of the encoder that a pre-training has saved."""
        for tracker in self.opened.values():
            tracker.made(encoder)

    def close(self, exit_code: int) -> None:
        """Close all trackers; 143 and 130 mean that the job was stopped and will be resumed."""
        # in the order of opening: some write what metrics.csv has when it is closed
        while self.opened:
            self.opened.pop(next(iter(self.opened))).close(exit_code)
