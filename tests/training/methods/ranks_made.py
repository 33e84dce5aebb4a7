"""First steps of pre-trainings as one rank of several, or as the only one; run as a script it is such a rank."""

import sys
from pathlib import Path

import torch
from lightly.loss.swav_loss import sinkhorn
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from headwater.training import ddp
from headwater.training.methods import _ranks
from headwater.training.views.draws import keys
from test_methods import SIDE, learner

COMPARED = ("barlow_twins", "byol", "dino", "ibot", "ijepa", "moco", "moco_v3", "simclr", "simmim", "swav", "vicreg")
CASES = 16


def first_steps(
    method: str, world: ddp.World, *, steps: int = 2, side: int | None = None
) -> dict[str, Tensor | dict[str, Tensor]]:
    """Mean losses and gradients of steps that change no weight, and the state after them.

    `side`: of the pictures, if they are larger than the network sees.
    """
    module = ddp.with_shared_statistics(learner(method, steps=10, **EASED.get(method, {})), world)
    parallel = DistributedDataParallel(module, find_unused_parameters=True) if world.size > 1 else module
    side = side or SIDE.get(method, 32)
    images = torch.randint(
        0, 255, (CASES, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    own, losses = torch.arange(world.rank, CASES, world.size), []
    module.mode(True)
    for step in range(steps):
        drawn = keys(seed=0, epochs=torch.full_like(own, step), cases=own)
        module.before_step(step=step)
        loss = parallel(module.views(images[own], drawn), torch.zeros(len(own), 3))
        loss.backward()
        module.after_step(step=step, steps=10)
        losses.append(ddp.total(loss.detach(), world) / world.size)
    gradients = {name: one.grad for name, one in module.named_parameters() if one.grad is not None}
    return {"losses": torch.stack(losses), "gradients": gradients, "state": module.state_dict()}


EASED = {
    "ibot": {"koleo": 0.1, "untied_heads": True, "masked_views": 0.5},
    "swav": {"frozen_prototypes": 0.0, "queue": 16, "queue_starts": 0.0},
}
"""What brings everything into play within two steps."""


def sorted_scores(world: ddp.World) -> Tensor:
    """The whole batch's groups by Sinkhorn's algorithm over all ranks."""
    scores = torch.rand(CASES, 6, generator=torch.Generator().manual_seed(1))
    return _ranks.whole(sinkhorn(scores[world.rank :: world.size], gather_distributed=True))


def told(world: ddp.World) -> dict[str, Tensor | dict]:
    """All that is compared."""
    torch.manual_seed(0)
    whole = _ranks.whole(torch.arange(CASES).view(-1, 1)[world.rank :: world.size])
    mean = _ranks.mean(torch.tensor([1.0 + 2 * world.rank]))
    steps = {method: first_steps(method, world) for method in COMPARED}
    larger = first_steps("dino", world, side=48)
    return {"whole": whole, "mean": mean, "sorted": sorted_scores(world), **steps, "larger pictures": larger}


if __name__ == "__main__":
    with ddp.world(threads=1) as here:
        torch.save(told(here), Path(sys.argv[1]) / f"{here.rank}.pt")
