"""Scoring: what a network says of each case, exactly once, on any number of ranks."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.models import compiled
from headwater.models.placing import placed
from headwater.models.task_network import Outputs
from headwater.models.task_set import mapped
from headwater.training import reading
from headwater.training.ddp import World, gather, share, tensor_float
from headwater.training.ddp import precision as number_format
from headwater.training.reading.volumes import Asked


def score(
    network: nn.Module,
    *,
    images: Any,
    rows: np.ndarray,
    batch: int,
    world: World,
    precision: str = "auto",
    asked: Asked | None = None,
) -> Outputs:
    """What the network in evaluation gives for the images of `rows`: (rows, ...) on the CPU of every rank.

    `images`: uint8 (cases, channels, h, w), scans, or volumes, of which `asked` tells what is measured; without it the
    network gives one answer for each window. At most `batch` images or windows are given to the network at a time.
    """
    if not len(rows):
        raise UserError("there is no image to score", remedy="look at the splits of the cases")
    own = share(len(rows), world)
    # with fewer images than ranks an idle rank scores one too, to know how many outputs there are
    needed = rows[own] if len(own) else rows[:1]
    with evaluating(network, world=world, precision=precision):
        said = reading.of(images).said(network, images, rows=needed, batch=batch, device=world.device, asked=asked)
        outputs = list(said)
    return mapped(partial(gathered, rows=len(rows), own=len(own), world=world), *outputs)


@contextmanager
def evaluating(network: nn.Module, *, world: World, precision: str) -> Iterator[None]:
    """A block in which a network is on the device, in evaluation, and gets no gradients; its modes come back."""
    kind = number_format(precision, world.device)
    was_training = {module: module.training for module in network.modules()}
    placed(network, world.device).eval()
    with (
        torch.no_grad(),
        torch.autocast(world.device.type, dtype=kind, enabled=kind is not None),
        tensor_float(precision),
        # scores do not depend on how a network has been trained
        compiled.passed_over() if world.compiled else nullcontext(),
    ):
        yield
    for module, training in was_training.items():
        module.training = training


def gathered(*pieces: Tensor, rows: int, own: int, world: World) -> Tensor:
    """The outputs of all ranks in the order of the rows, from this rank's pieces, of which `own` rows count."""
    scored = gather(torch.cat(pieces)[:own].cpu(), world)
    everyone = [share(rows, World(rank=rank, size=world.size, device=world.device)) for rank in range(world.size)]
    return scored[np.argsort(np.concatenate(everyone))]
