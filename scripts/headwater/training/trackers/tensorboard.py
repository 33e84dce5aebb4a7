"""TensorBoard: metrics as event files in the folder `tensorboard`."""

import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from headwater.study.tracking import Tracking
from headwater.training.trackers import Tracked, Tracker


class Board(Tracker):
    """Scalars in an event file."""

    def __init__(self, folder: Path):
        self.writer = EventFileWriter(str(folder))

    def log(self, step: int, values: dict[str, float]) -> None:
        """One point of each curve."""
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))

    def measured(self, step: int, values: dict[str, float]) -> None:
        """One point of each curve of the machine's."""
        self.log(step, values)

    def rewind(self, step: int) -> None:
        """Start a new session, for which TensorBoard discards earlier points from `step` + 1 on."""
        session = SessionLog(status=SessionLog.START)
        self.writer.add_event(Event(wall_time=time.time(), step=step + 1, session_log=session))

    def flush(self) -> None:
        """Write all events to disk."""
        self.writer.flush()

    def close(self, exit_code: int) -> None:
        """Close the event file."""
        self.writer.close()


def open(folder: Path, *, training: Tracked, tracking: Tracking) -> Board:
    """A new event file beside those of earlier attempts."""
    return Board(folder / "tensorboard")
