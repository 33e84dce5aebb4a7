"""Memory forecast: whether a step of each kind of training fits into a GPU, and in how many parts of its batch.

The file is JSON: `trainings` has by the key of a rehearsal what a step takes, see `study.step_memory`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydantic

from headwater.core import text
from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.models import backbones
from headwater.planning import timing_profile
from headwater.planning.timing_profile import Rehearsal
from headwater.study.config import Config
from headwater.study.paths import Paths
from headwater.study.recipe import MIXED
from headwater.study.step_memory import StepMemory, usable
from headwater.training import methods

GB = 10**9


class MemoryProfile(Record):
    """What a step of each kind of training takes."""

    trainings: dict[str, StepMemory]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The memory of a step of one kind of training: its jobs' rule and kind, and where its batch is set."""

    rule: str
    of: str
    place: str
    rehearsal: Rehearsal
    step: StepMemory
    memory: int | None = None
    """Bytes of the GPUs of the config, if it says them."""

    sharded: bool = False
    """Whether `step` is that of one of the ranks that split weights, gradients and moments among them."""

    @property
    def ranks(self) -> int:
        """The processes that have a copy of all gradients."""
        return 1 if self.sharded else self.rehearsal.ranks

    @property
    def bytes(self) -> int:
        """The most bytes at once, as the config has it; where parts are chosen, in those that fit its GPUs, if any."""
        return self.needed(self.chosen or self.rehearsal.training.parts)

    @property
    def chosen(self) -> int | None:
        """The parts that `accumulate: auto` will choose, as far as they are known."""
        auto = self.rehearsal.training.accumulate == "auto"
        return self.parts(self.memory) if auto and self.memory else None

    def needed(self, parts: int) -> int:
        """The most bytes at once for the batch in so many parts."""
        return self.step.needed(self.rehearsal.share, parts=parts, ranks=self.ranks)

    def parts(self, memory: int) -> int | None:
        """The fewest parts of the batch with which a step fits; none if it never does."""
        recipe = self.rehearsal.recipe
        together = 2 if recipe and any(getattr(recipe, key) for key in MIXED) else 1
        given = {"memory": memory, "ranks": self.ranks, "together": together}
        parts = self.step.parts(self.rehearsal.share, **given)
        return parts if parts == 1 or self.apart else None

    @property
    def normalised(self) -> bool:
        """Whether an image depends on the others of its part, by BatchNorm, as far as that is known."""
        fixed = self.rehearsal.recipe and self.rehearsal.recipe.kind == "linear_probe"
        return not fixed and backbones.has_batch_norm(self.rehearsal.source.backbone)

    @property
    def apart(self) -> bool:
        """Whether the batch can be taken in parts."""
        source = self.rehearsal.source
        return bool(self.rehearsal.recipe) or methods.takes_parts(source.method.name, backbone=source.backbone)


def file_of(plan: Config, *, folder: Path) -> Path:
    """The file of a study's memory profile."""
    return folder / Paths(plan.results).memory_profile()


def read(plan: Config, *, folder: Path) -> MemoryProfile:
    """The memory profile of a study; empty before `headwater plan memory`."""
    file = file_of(plan, folder=folder)
    if not file.is_file():
        return MemoryProfile(trainings={})
    try:
        return MemoryProfile.from_json(file.read_text())
    except (OSError, pydantic.ValidationError) as error:
        remedy = "delete it and run headwater plan memory again"
        raise UserError(f"not a valid memory profile: {error}", file=file, remedy=remedy) from None


def forecasts(plan: Config, *, folder: Path) -> list[Forecast]:
    """The forecast of each kind of training that was measured, in the order of the jobs."""
    profile, found = read(plan, folder=folder), {}
    memory = int(plan.compute.gpu_memory * GB) if plan.compute.gpu_memory else None
    for job, rehearsal in timing_profile.trainings(plan) if profile.trainings else ():
        if step := profile.trainings.get(rehearsal.key):
            place = f"recipes.{job.run.recipe.name}" if job.run else f"sources.{rehearsal.source.name}"
            own = job.run.recipe.compute if job.run else rehearsal.source.compute
            sharded = bool(plan.compute.of(own).fsdp)
            each = {"rule": job.rule, "of": job.kind, "place": place, "rehearsal": rehearsal, "sharded": sharded}
            each |= {"step": step.split(rehearsal.ranks) if sharded else step, "memory": memory}
            found.setdefault((rehearsal.key, job.kind), Forecast(**each))
    return list(found.values())


def tight(plan: Config, *, folder: Path) -> Iterator[str]:
    """One line for each kind of training that does not fit into the GPUs of the config, with the remedy."""
    if plan.compute.gpu_memory is None or plan.compute.device == "cpu":
        return
    memory = int(plan.compute.gpu_memory * GB)
    for forecast in forecasts(plan, folder=folder):
        if forecast.bytes > usable(memory):
            yield (
                f"{forecast.place}.training: {forecast.rule} of {forecast.of} takes about"
                f" {forecast.bytes / GB:.1f} GB at once, too much for a GPU of {plan.compute.gpu_memory:g} GB;"
                f" {remedy(forecast, memory)}"
            )
        elif (forecast.chosen or 1) > 1 and forecast.normalised:
            yield (
                f"{forecast.place}.training.accumulate: auto needs {forecast.chosen} parts for {forecast.of} on a GPU"
                f" of {plan.compute.gpu_memory:g} GB, and takes one only with BatchNorm; set {forecast.chosen}"
            )


def remedy(forecast: Forecast, memory: int) -> str:
    """What makes a training fit into so many bytes."""
    if parts := forecast.parts(memory):
        return f"set accumulate: {parts} ({forecast.needed(parts) / GB:.1f} GB)"
    if forecast.apart:
        least = forecast.needed(forecast.rehearsal.share) / GB
        return f"one image at a time takes {least:.1f} GB, so take a smaller network, smaller images or a larger GPU"
    images = forecast.rehearsal.share
    while images and forecast.step.needed(images, ranks=forecast.ranks) > usable(memory):
        images //= 2
    fewer = f"give each process {text.many(images, 'image')} of a batch" if images else "take a smaller network"
    return f"{fewer}: raise compute.ranks, or lower batch"
