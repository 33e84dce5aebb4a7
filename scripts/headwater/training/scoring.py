"""Scoring: what a network says of each image, exactly once, on any number of ranks."""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.data.store import Scans
from headwater.models.task_network import Outputs
from headwater.models.task_set import mapped
from headwater.training.batches import scoring_batches
from headwater.training.ddp import World, gather, share
from headwater.training.ddp import precision as number_format
from headwater.training.views.pictures import as_float


def score(
    network: nn.Module,
    *,
    images: np.ndarray | Scans,
    rows: np.ndarray,
    batch: int,
    world: World,
    precision: str = "auto",
) -> Outputs:
    """What the network in evaluation gives for the images of `rows`: float32 (rows, ...) on the CPU of every rank.

    `images`: uint8 (cases, channels, h, w), or scans; the network gets float (at most `batch`, 3, h, w) in [0, 1].
    """
    if not len(rows):
        raise UserError("there is no image to score", remedy="look at the splits of the cases")
    own = share(len(rows), world)
    # with fewer images than ranks an idle rank scores one too, to know how many outputs there are
    asked = rows[own] if len(own) else rows[:1]
    kind = number_format(precision, world.device)
    was_training = {module: module.training for module in network.modules()}
    network.to(world.device).eval()
    outputs = []
    with torch.no_grad(), torch.autocast(world.device.type, dtype=kind, enabled=kind is not None):
        for piece in scoring_batches(asked, images=images, batch=batch, world=world):
            outputs.append(mapped(torch.Tensor.float, network(as_float(piece))))
    for module, training in was_training.items():
        module.training = training
    return mapped(partial(_gathered, rows=len(rows), own=len(own), world=world), *outputs)


def _gathered(*pieces: Tensor, rows: int, own: int, world: World) -> Tensor:
    """The outputs of all ranks in the order of the rows, from this rank's pieces, of which `own` rows count."""
    scored = gather(torch.cat(pieces)[:own].cpu(), world)
    everyone = [share(rows, World(rank=rank, size=world.size, device=world.device)) for rank in range(world.size)]
    return scored[np.argsort(np.concatenate(everyone))]
