"""Weights & Biases: each training as a run, live or as files to sync later."""

from pathlib import Path
from typing import Any

from headwater.core.errors import INTERRUPTED, UserError
from headwater.study import run_ids
from headwater.study.tracking import Tracking
from headwater.training import wandb_artifacts, wandb_session
from headwater.training.trackers import Tracked, Tracker
from headwater.training.trackers._whole import config_of, drawn, parts_of
from headwater.training.wandb_session import Named, Session

STOPPED = (143, INTERRUPTED)
"""The exit codes of a training that was stopped and will be resumed."""


class Dashboard(Tracker):
    """A run of W&B; `folder` is the training's."""

    def __init__(self, session: Session, *, folder: Path, tracking: Tracking):
        self.session = session
        self.folder = folder
        self.tracking = tracking

    def log(self, step: int, values: dict[str, float]) -> None:
        """One point of each curve."""
        self.session.run.log(values, step=step)

    def measured(self, step: int, values: dict[str, float]) -> None:
        """One point of each curve of the machine's."""
        self.session.run.log(values, step=step)

    def rewind(self, step: int) -> None:
        """Make an offline run whole: log what former attempts logged up to `step`, and remove their folders."""
        if self.session.offline:
            self.repeat(step)
            self.session.remove_former()

    def repeat(self, step: int) -> None:
        """Log the curves of the training's tables up to a step."""
        for number, values in drawn(self.folder, up_to=step):
            self.session.run.log(values, step=number)

    def summary(self, values: dict[str, float]) -> None:
        """Set the run's summary values."""
        self.session.run.summary.update(values)

    def made(self, encoder: Path) -> None:
        """Keep the encoder with the run, if the config asks for it."""
        if artifact := wandb_artifacts.encoder(encoder, tracking=self.tracking):
            self.session.run.log_artifact(artifact)

    def close(self, exit_code: int) -> None:
        """End the run, marked as preempted if the training was stopped."""
        if exit_code in STOPPED:
            self.session.run.mark_preempting()
        self.session.close(exit_code)


def open(folder: Path, *, training: Tracked, tracking: Tracking) -> Dashboard:
    """The run of a training, to which further attempts append."""
    if tracking.aggregates_only:
        raise UserError(
            "tracking.also lists wandb, but tracking.aggregates_only lets no training go there",
            remedy="remove wandb from tracking.also, or aggregates_only",
        )
    if tracking.wandb == "disabled":
        raise UserError(
            "tracking.also lists wandb, but tracking.wandb is disabled",
            remedy="set tracking.wandb to offline or online, or remove wandb from tracking.also",
        )
    wandb_session.library()
    config = config_of(training, tracking=tracking)
    session = wandb_session.begin(folder, named=named(training, tracking=tracking), config=config, tracking=tracking)
    if training.encoder and (artifact := wandb_artifacts.encoder(training.encoder, tracking=tracking)):
        session.use(artifact)
    return Dashboard(session, folder=folder, tracking=tracking)


def add(folder: Path, *, training: Tracked, tracking: Tracking, steps: int, summary: dict[str, Any]) -> None:
    """Add summary values to the run of a finished training; the same values twice change nothing.

    An offline run is written anew from the training's tables, and so is one that the server does not have.
    """
    board = open(folder, training=training, tracking=tracking)
    code = 1
    try:
        if board.session.offline or not board.session.run.resumed:
            board.repeat(steps)
        board.summary(summary)
        board.session.remove_former()
        code = 0
    finally:
        board.close(code)


def named(training: Tracked, *, tracking: Tracking) -> Named:
    """How a training is known at W&B."""
    record = training.record
    return Named(
        identity=run_ids.of_training(record, tracking=tracking, content=training.content),
        name=training.name,
        group=training.group,
        job=training.job,
        tags=(tracking.study_name, *map(str, parts_of(training).values())),
        former=(record.digest,),
    )
