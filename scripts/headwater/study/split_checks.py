"""Trainings whose weights cannot be split among ranks, as `compute.fsdp` says."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from headwater.core import registry
from headwater.study.compute import Processes
from headwater.study.recipe import Training

if TYPE_CHECKING:
    from headwater.study.config import Config


def mistakes(config: "Config") -> Iterable[str]:
    """A line for each training that is to be split and cannot be."""
    trainings = {f"recipes.{name}": recipe for name, recipe in config.recipes.items()}
    trainings |= {f"sources.{name}": source for name, source in config.sources.items() if source.training}
    for place, entry in trainings.items():
        processes = config.compute.of(entry.compute)
        if processes.fsdp:
            own = f"{place}.compute" if entry.compute != Processes() else "compute"
            method = getattr(entry, "method", None)
            known = method is not None and method.name in registry.names("methods")
            compared = known and registry.constant("methods", method.name, "COMPARED", default=False)
            how = {"ranks": processes.ranks, "compiled": processes.compile, "compared": compared}
            for why, remedy in unsplit(entry.training, **how):
                yield f"{own}.fsdp: {why} ({place}); {remedy}"


def unsplit(training: Training, *, ranks: int, compiled: bool, compared: bool) -> Iterator[tuple[str, str]]:
    """(why, remedy) of each reason for which a training cannot be split; `compared`: its method compares images."""
    if ranks == 1:
        yield "the weights of a training are split among its ranks, and there is one", "raise ranks, or set it to false"
    if compiled:
        yield "networks whose weights are split are not compiled", "set it or compile to false"
    if training.optimiser in ("lars", "lamb"):
        why = f"{training.optimiser} needs the length of whole weights, and each rank has a part"
        yield why, "set it to false, or optimiser: adamw"
    if training.accumulate == "auto":
        yield "what a step takes is not measured on split weights", "set it to false, or accumulate to a number"
    elif compared and training.accumulate != 1:
        why = "features of images that are compared are not made part by part on split weights"
        yield why, "set it to false, or remove accumulate"
    if training.precision == "fp16":
        yield "gradients in fp16 are scaled on each rank by itself", "set it to false, or precision: bf16"
