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
    aggregates_only: bool = False
    """Send Weights & Biases the report's tables and figures only, no training: for archives whose terms allow that."""
    also: tuple[str, ...] = ()
    """Further trackers, by the names of their files in `training/trackers`."""
    study: str = ""
    """The folder of results, which tells studies apart; given to the jobs."""
    inputs: dict[str, str] = {}
    """The digests of what archives and encoders are made from, as `upstream.digests` gives them; likewise."""

    @property
    def trackers(self) -> tuple[str, ...]:
        """All trackers of a training by name, each once."""
        curves_leave = self.wandb != "disabled" and not self.aggregates_only
        dashboards = ("wandb",) if curves_leave else ()
        return tuple(dict.fromkeys(("csv", "tensorboard", *dashboards, *self.also)))
