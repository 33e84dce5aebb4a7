"""Tracking: the curves of a training as a table, in TensorBoard and, where wanted, in Weights & Biases.

Nothing leaves the machine unless the config says so, and then no host name, command line, path or code does.
"""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from headwater.core.errors import UserError
from headwater.core.files import whole
from headwater.core.records import Record
from headwater.study.tracking import Tracking
from headwater.training.ddp import World

HEADER = "step,name,value\n"
EVERY = 10
"""Dashboards get the training curves at every so many steps; metrics.csv gets all."""

ONLY_ON_THIS_DISK = ("path", "folder")
"""Keys of a record whose values name places on this machine."""


class Tracker:
    """Writes metrics.csv, tensorboard/ and W&B's files below `folder`, on the first rank; a context manager."""

    def __init__(
        self, folder: Path, *, record: Record, group: str, name: str, job: str, tracking: Tracking, world: World
    ):
        self.folder = Path(folder)
        self.record, self.group, self.name, self.job, self.tracking = record, group, name, job, tracking
        self.writes = world.first
        self.borrowed: list[str] = []
        self.board: EventFileWriter | None = None
        self.dashboard: Any = None

    def __enter__(self) -> Self:
        if self.writes:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.tracking.wandb != "disabled":
                self.dashboard = self._dashboard()
            self.board = EventFileWriter(str(self.folder / "tensorboard"))
            self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stopped = isinstance(error, SystemExit) and isinstance(error.code, int)
        self.finish(error.code if stopped else int(error is not None))

    @property
    def table(self) -> Path:
        """The file of all metrics: one row per step and name, no times, so that a resumed training ends in the same."""
        return self.folder / "metrics.csv"

    def log(self, step: int, values: dict[str, float]) -> None:
        """Note what was measured after a step."""
        if not self.writes:
            return
        values = {name: float(value) for name, value in values.items()}
        self.file.writelines(f"{step},{name},{value!r}\n" for name, value in values.items())
        if step % EVERY and all(name.startswith("training/") for name in values):
            return
        shown = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self.board.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=shown)))
        if self.dashboard is not None:
            self.dashboard.log(values, step=step)

    def rewind(self, step: int) -> None:
        """Take back what was noted after `step`: the training goes on from there."""
        if not self.writes:
            return
        self.file.close()
        kept = [line for line in self.table.read_text().splitlines(keepends=True)[1:] if _up_to(line, step)]
        with whole(self.table) as temporary:
            temporary.write_text(HEADER + "".join(kept))
        self._open()
        # TensorBoard drops what it has read from this step on
        self.board.add_event(
            Event(wall_time=time.time(), step=step + 1, session_log=SessionLog(status=SessionLog.START))
        )

    def flush(self) -> None:
        """Bring all that was noted to the disk, so that no progress file can be ahead of it."""
        if self.writes:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.board.flush()

    def summary(self, values: dict[str, float]) -> None:
        """Note results of the whole training."""
        if self.dashboard is not None:
            self.dashboard.summary.update(values)

    def finish(self, exit_code: int) -> None:
        """Close all files; 143 tells W&B that the job was stopped and goes on later."""
        if not self.writes:
            return
        self.file.close()
        self.board.close()
        if self.dashboard is not None:
            if exit_code == 143:
                self.dashboard.mark_preempting()
            self.dashboard.finish(exit_code=exit_code)
            self.dashboard = None
        for name in self.borrowed:
            del os.environ[name]
        self.borrowed = []

    def _open(self) -> None:
        """Open the table for further rows."""
        if not self.table.exists() or not self.table.read_text().startswith(HEADER):
            self.table.write_text(HEADER)
        self.file = self.table.open("a", encoding="utf-8")

    def _dashboard(self) -> Any:
        """A run of W&B: same record, same run; another attempt adds to it."""
        try:
            import wandb
        except ImportError:
            raise UserError(
                "tracking.wandb needs the package wandb", remedy="pip install -e '.[wandb]', or say disabled"
            ) from None
        self._keep_below_folder()
        privacy = wandb.Settings(
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_save_requirements=False,
            disable_git=True,
            disable_code=True,
            console="off",
            host="x",
            silent=True,
        )
        return wandb.init(
            project=self.tracking.project,
            entity=self.tracking.entity,
            group=self.group,
            name=self.name,
            job_type=self.job,
            id=self.record.digest,
            resume="allow",
            config=_without_places(self.record.model_dump(mode="json")),
            mode=self.tracking.wandb,
            settings=privacy,
        )

    def _keep_below_folder(self) -> None:
        """Send W&B's files, which fill home folders otherwise, below `folder`; what the user has set stays."""
        places = {"WANDB_DIR": ".", "WANDB_DATA_DIR": "wandb/data", "WANDB_CACHE_DIR": "wandb/cache"}
        if self.tracking.wandb == "offline":
            # online, the user's own file says which server was logged in to
            places["WANDB_CONFIG_DIR"] = "wandb/config"
        for name, place in places.items():
            if name not in os.environ:
                (self.folder / place).mkdir(parents=True, exist_ok=True)
                os.environ[name] = str((self.folder / place).absolute())
                self.borrowed.append(name)


def _up_to(line: str, step: int) -> bool:
    """Whether a line of the table is whole and of no later step; a killed job may leave a torn one."""
    first = line.partition(",")[0]
    return line.endswith("\n") and first.isdecimal() and int(first) <= step


def _without_places(value: Any) -> Any:
    """A record's contents with folders and files told by their last name only."""
    if isinstance(value, dict):
        return {
            key: Path(inner).name if key in ONLY_ON_THIS_DISK and isinstance(inner, str) else _without_places(inner)
            for key, inner in value.items()
        }
    return [_without_places(inner) for inner in value] if isinstance(value, list) else value
