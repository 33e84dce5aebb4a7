"""On GPUs the weights of convolutions have channels last, and every method computes the same with them."""

from unittest.mock import patch

import pytest
import torch
from torch import nn

from headwater.models.placing import placed
from headwater.training.views.draws import keys
from rounding import NEAR
from test_methods import METHODS, SIDE, learner


def as_on_a_gpu(network):
    """A network with the layout that it has on a GPU, left on the CPU."""
    with patch.object(nn.Module, "to", lambda self, *_: self):
        return placed(network, torch.device("cuda"))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", METHODS)
def test_a_method_computes_the_same_in_the_layout_of_gpus(method):
    side = SIDE.get(method, 32)
    images = torch.randint(0, 255, (8, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    chance = keys(seed=0, epochs=torch.zeros(8, dtype=torch.int64), cases=torch.arange(8))
    told, plain = [], []
    for module in (learner(method), as_on_a_gpu(learner(method))):
        plain.append([each.weight.is_contiguous() for each in module.modules() if isinstance(each, nn.Conv2d)])
        module.before_step(step=0)
        loss = module(module.views(images, chance), torch.eye(3)[torch.arange(8) % 3])
        loss.backward()
        told.append([loss.detach(), *(each.grad for each in module.parameters() if each.grad is not None)])
    for one, other in zip(*told, strict=True):
        torch.testing.assert_close(one, other, **NEAR)
    # MoCo folds groups of images into channels, so its layout stays
    assert (plain[0] == plain[1]) == (method == "moco")
