"""TensorBoard: metrics as event files in the folder `tensorboard`, with a layout and, once compared, test values.

`tensorboard --logdir RESULTS` shows curves by name, charts of the layout under Custom Scalars, and a row for each run
with its settings and test values under HParams.
"""

import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as charts
from tensorboard.plugins.hparams import metadata as sessions
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from headwater.study.grid import Run
from headwater.study.tracking import Tracking
from headwater.training.trackers import Tracked, Tracker

FOLDER = "tensorboard"

LAYOUT = {
    "Training": {
        "Validation score": r"validation/(?!loss$)",
        "Losses": r"(training|validation)/loss$",
        "Learning rate": "training/lr$",
    },
    "Pre-training": {
        "Feature probe, AUROC": "probe/auroc",
        "RankMe and LiDAR": "features/(rank|lidar)$",
        "Spread": "features/spread$",
        "Alignment and uniformity": "features/(alignment|uniformity)$",
    },
    "Machine": {
        "Images per second": "machine/images_per_second$",
        "Share of the time waiting for images": "machine/waiting$",
        "Memory, GiB": r"machine/(gpu_)?memory_gib$",
    },
}
"""The charts under Custom Scalars, by heading and title: which curves each shows."""

TEST = ".test"
"""How the names of files with test values end."""


class Board(Tracker):
    """Scalars in an event file."""

    def __init__(self, folder: Path):
        self.writer = EventFileWriter(str(folder))
        self._add(0, _layout())

    def log(self, step: int, values: dict[str, float]) -> None:
        """One point of each curve."""
        self._add(step, *_points(values))

    def measured(self, step: int, values: dict[str, float]) -> None:
        """One point of each curve of the machine's."""
        self.log(step, values)

    def rewind(self, step: int) -> None:
        """Start a new session, for which TensorBoard discards earlier points from `step` + 1 on."""
        session = SessionLog(status=SessionLog.START)
        self.writer.add_event(Event(wall_time=time.time(), step=step + 1, session_log=session))

    def _add(self, step: int, *values: Summary.Value) -> None:
        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def flush(self) -> None:
        """Write all events to disk."""
        self.writer.flush()

    def close(self, exit_code: int) -> None:
        """Close the event file."""
        self.writer.close()


def open(folder: Path, *, training: Tracked, tracking: Tracking) -> Board:
    """A new event file beside those of earlier attempts."""
    return Board(folder / FOLDER)


def add(folder: Path, *, training: Tracked, tracking: Tracking, steps: int, summary: dict[str, Any]) -> None:
    """Add summary values and the settings to the events of a finished training, in place of those added before."""
    for former in (folder / FOLDER).glob(f"*{TEST}"):
        former.unlink()
    writer = EventFileWriter(str(folder / FOLDER), filename_suffix=TEST)
    values = [*_points(summary), *_session(training.record)]
    writer.add_event(Event(wall_time=time.time(), step=steps, summary=Summary(value=values)))
    writer.close()


def _points(values: dict[str, float]) -> list[Summary.Value]:
    return [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]


def _layout() -> Summary.Value:
    """The charts under Custom Scalars."""
    categories = [
        layout_pb2.Category(
            title=heading,
            chart=[
                layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[curves]))
                for title, curves in of.items()
            ],
        )
        for heading, of in LAYOUT.items()
    ]
    content = layout_pb2.Layout(category=categories).SerializeToString()
    return Summary.Value(
        tag=charts.CONFIG_SUMMARY_TAG,
        tensor=make_tensor_proto(content),
        metadata=charts.create_summary_metadata(),
    )


def _session(run: Run) -> list[Summary.Value]:
    """The row of a run under HParams: its names and how it was trained."""
    training = run.recipe.training
    shown = {
        **{"dataset": run.dataset.name, "source": run.source.name, "recipe": run.recipe.name, "seed": run.seed},
        **{"lr": training.lr, "batch": training.batch, "steps": training.steps},
    }
    start = SessionStartInfo(group_name=run.path)
    for name, value in shown.items():
        if isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    parts = {
        sessions.SESSION_START_INFO_TAG: HParamsPluginData(session_start_info=start),
        sessions.SESSION_END_INFO_TAG: HParamsPluginData(
            session_end_info=SessionEndInfo(status=Status.Value("STATUS_SUCCESS"))
        ),
    }
    return [
        Summary.Value(tag=tag, metadata=sessions.create_summary_metadata(part), tensor=sessions.NULL_TENSOR)
        for tag, part in parts.items()
    ]
