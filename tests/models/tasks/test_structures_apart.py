"""Structures that look alike and differ only in where they lie are learned within a few steps."""

import pytest
import torch

from headwater.models import backbones
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task, segmentation

SIDE, HALF_AXES = 16, (3.0, 6.0, 3.0)
"""Voxels along each axis, of a volume and of the body in it: its back half is one structure, its front half another."""

OUTLINE = Task(name="segmentation", labels=("back", "front"), form="exclusive")


def bodies(chance, *, cases):
    """(images, label maps) of noisy bodies, each a little elsewhere."""
    along = torch.stack(torch.meshgrid(*[torch.arange(SIDE, dtype=torch.float32)] * 3, indexing="ij"))
    middles = SIDE / 2 + 2 * torch.rand(cases, 3, 1, 1, 1, generator=chance) - 1
    inside = (((along - middles) / torch.tensor(HALF_AXES).view(3, 1, 1, 1)) ** 2).sum(dim=1) < 1
    maps = torch.where(inside, torch.where(along[1] > middles[:, 1], 2, 1), 0).to(torch.uint8)
    return (inside + torch.randn(inside.shape, generator=chance) / 2)[:, None], maps


@pytest.mark.parametrize("seed", [0, 2])
def test_structures_that_look_alike_are_told_apart_within_thirty_steps(seed):
    drawn = backbones.build("monai/dynunet_small", size=(SIDE,) * 3, mean=(0.0,), std=(1.0,), seed=seed)
    network = TaskNetwork(drawn, tasks=TaskSet.of(OUTLINE), seeds={"": seed})
    chance, optimiser = torch.Generator().manual_seed(seed), torch.optim.AdamW(network.parameters(), lr=0.003)
    for _ in range(30):
        images, maps = bodies(chance, cases=2)
        loss = segmentation.loss(network(images), maps, weights=torch.ones(2), form="exclusive")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    images, maps = bodies(torch.Generator().manual_seed(99), cases=8)
    with torch.no_grad():
        found = network(images).argmax(dim=1)
    for structure in (1, 2):
        shared = ((found == structure) & (maps == structure)).sum()
        # with weights of a fiftieth both were 0 here
        assert 2 * shared / ((found == structure).sum() + (maps == structure).sum()) > 0.5
