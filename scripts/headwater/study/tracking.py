"""Where training curves go besides the files that every training writes."""

from typing import Literal

from pydantic import Field

from headwater.core.records import Record


class Tracking(Record):
    """Where training curves go besides metrics.csv and TensorBoard."""

    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Weights & Biases: nothing, files to sync later, or live. Nothing leaves the machine unless this says online."""
    project: str = Field("headwater", pattern=r"^[^/\\#?%:]{1,128}$")
    """The project's name at Weights & Biases, which allows none of / \\ # ? % : in it."""
    entity: str | None = None
    """The account or team at Weights & Biases; none uses your default."""
    also: tuple[str, ...] = ()
    """Further trackers, by the names of their files in `training/trackers`."""

    @property
    def trackers(self) -> tuple[str, ...]:
        """All trackers by name, each once."""
        dashboards = ("wandb",) if self.wandb != "disabled" else ()
        return tuple(dict.fromkeys(("csv", "tensorboard", *dashboards, *self.also)))
