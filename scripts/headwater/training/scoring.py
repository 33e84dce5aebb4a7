"""Scoring: what a network says of each image, exactly once, on any number of ranks."""

import numpy as np
import torch
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.data.store import Scans
from headwater.training.augment import as_float
from headwater.training.batches import scoring_batches
from headwater.training.ddp import World, gather, share
from headwater.training.ddp import precision as number_format


def score(
    network: nn.Module,
    *,
    images: np.ndarray | Scans,
    rows: np.ndarray,
    batch: int,
    world: World,
    precision: str = "auto",
) -> Tensor:
    """What the network in evaluation gives for the images of `rows`: float32 (rows, outputs) on the CPU of every rank.

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
            outputs.append(network(as_float(piece)).float())
    for module, training in was_training.items():
        module.training = training
    scored = gather(torch.cat(outputs)[: len(own)].cpu(), world)
    everyone = [share(len(rows), World(rank=rank, size=world.size, device=world.device)) for rank in range(world.size)]
    return scored[np.argsort(np.concatenate(everyone))]
