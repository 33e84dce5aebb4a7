"""Weights & Biases: each training as a run, live or as files to sync later.

Nothing leaves the machine unless the config says so, and even then no host name, command line, path or code.
"""

import glob
import os
import shutil
from pathlib import Path
from typing import Any

from headwater.core.errors import INTERRUPTED, UserError
from headwater.core.records import without_places
from headwater.study.tracking import Tracking
from headwater.training.trackers import Tracked, Tracker, csv
from headwater.training.tracking import is_drawn

STOPPED = (143, INTERRUPTED)
"""The exit codes of a training that was stopped and will be resumed."""


class Dashboard(Tracker):
    """A run of W&B; `variables` are the environment variables to unset at its end, `folder` is the training's."""

    def __init__(self, run: Any, *, variables: list[str], folder: Path, former: list[Path] | None):
        self.run = run
        self.variables = variables
        self.folder = folder
        self.former = former
        """folders of former attempts at an offline run; none for an online one"""

    def log(self, step: int, values: dict[str, float]) -> None:
        """One point of each curve."""
        self.run.log(values, step=step)

    def rewind(self, step: int) -> None:
        """Make an offline run whole: log what former attempts logged up to `step`, and remove their folders.

        A server puts the attempts at an online run together. Of several offline folders of one run, `wandb sync` may
        upload steps twice, or one folder in place of another.
        """
        if self.former is None:
            return
        for number, values in csv.read(self.folder, up_to=step):
            if drawn := {name: value for name, value in values.items() if is_drawn(number, [name])}:
                self.run.log(drawn, step=number)
        while self.former:
            shutil.rmtree(self.former.pop())

    def summary(self, values: dict[str, float]) -> None:
        """Set the run's summary values."""
        self.run.summary.update(values)

    def close(self, exit_code: int) -> None:
        """End the run, marked as preempted if the training was stopped."""
        if exit_code in STOPPED:
            self.run.mark_preempting()
        self.run.finish(exit_code=exit_code)
        for name in self.variables:
            del os.environ[name]


def open(folder: Path, *, training: Tracked, tracking: Tracking) -> Dashboard:
    """The run of a training, to which further attempts append."""
    if tracking.wandb == "disabled":
        raise UserError(
            "tracking.also lists wandb, but tracking.wandb is disabled",
            remedy="set tracking.wandb to offline or online, or remove wandb from tracking.also",
        )
    try:
        import wandb
    except ImportError:
        raise UserError(
            "tracking.wandb needs the package wandb",
            remedy="pip install -e '.[wandb]', or set tracking.wandb: disabled",
        ) from None
    variables = keep_below(folder, tracking=tracking)
    # before the new run has a folder, which must stay
    former = _folders(training.record.digest) if tracking.wandb == "offline" else None
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
    run = wandb.init(
        # said here too: W&B reads the environment once in a process, and a former run may have been elsewhere
        dir=os.environ["WANDB_DIR"],
        project=tracking.project,
        entity=tracking.entity,
        group=training.group,
        name=training.name,
        job_type=training.job,
        id=training.record.digest,
        resume="allow",
        config=without_places(training.record.model_dump(mode="json")),
        mode=tracking.wandb,
        settings=privacy,
    )
    return Dashboard(run, variables=variables, folder=folder, former=former)


def _folders(identity: str) -> list[Path]:
    """The folders of former offline attempts at a run, in the folder that W&B writes to."""
    return list(Path(os.environ["WANDB_DIR"]).glob(f"*wandb/offline-run-*-{glob.escape(identity)}"))


def keep_below(folder: Path, *, tracking: Tracking) -> list[str]:
    """Keep W&B's files below `folder` instead of the home folder; the environment variables that were set for it.

    Variables that the user has set are left alone.
    """
    places = {"WANDB_DIR": ".", "WANDB_DATA_DIR": "wandb/data", "WANDB_CACHE_DIR": "wandb/cache"}
    if tracking.wandb == "offline":
        # online runs need the user's own settings, which hold the server of `wandb login`
        places["WANDB_CONFIG_DIR"] = "wandb/config"
    unset = [name for name in places if name not in os.environ]
    for name in unset:
        (folder / places[name]).mkdir(parents=True, exist_ok=True)
        os.environ[name] = str((folder / places[name]).absolute())
    return unset
