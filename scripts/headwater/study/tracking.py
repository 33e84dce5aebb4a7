"""Where training curves go besides the files that every training writes."""

from pathlib import PurePath
from typing import Literal

from pydantic import Field

from headwater.core.records import Record

SERVICES = ("wandb", "mlflow", "clearml")
"""The trackers that have a key of their own, in which a study says where they write."""

MLFLOW_SERVER = "MLFLOW_TRACKING_URI"
"""The environment variable with the address of the user's MLflow server, which MLflow itself reads."""


class Tracking(Record):
    """Where training curves go besides metrics.csv and TensorBoard."""

    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Weights & Biases: nothing, files to sync later, or live. Nothing leaves the machine unless this says online."""
    mlflow: Literal["disabled", "offline", "online"] = "disabled"
    """MLflow: nothing, one database in the results' folder, or the server of MLFLOW_TRACKING_URI."""
    clearml: Literal["disabled", "offline"] = "disabled"
    """ClearML: nothing, or a file for each training that you import into your server."""
    project: str = Field("headwater", pattern=r"^[^/\\#?%:]{1,128}$")
    """The project at Weights & Biases and ClearML, and the experiment at MLflow; none of / \\ # ? % : is allowed."""
    entity: str | None = None
    """The account or team at Weights & Biases; none uses your default."""
    aggregates_only: bool = False
    """Send Weights & Biases the report's tables and figures only, no training: for archives whose terms allow that."""
    artifacts: tuple[Literal["encoders", "report"], ...] = ()
    """Files that Weights & Biases keeps, too: the encoders that the study pre-trains, the files of its report."""
    also: tuple[str, ...] = ()
    """Further trackers, by the names of their files in `training/trackers`."""
    study: str = ""
    """The folder of results, which tells studies apart; given to the jobs."""
    inputs: dict[str, str] = {}
    """The digests of what archives and encoders are made from, as `upstream.digests` gives them; likewise."""

    @property
    def trackers(self) -> tuple[str, ...]:
        """All trackers of a training by name, each once."""
        without = {"wandb"} if self.aggregates_only else set()
        services = (name for name in self.services if name not in without)
        return tuple(dict.fromkeys(("csv", "tensorboard", *services, *self.also)))

    @property
    def study_name(self) -> str:
        """The study's name for people: the last part of its folder of results."""
        return PurePath(self.study).name

    @property
    def services(self) -> tuple[str, ...]:
        """Those of SERVICES that are not disabled."""
        return tuple(name for name in SERVICES if getattr(self, name) != "disabled")
