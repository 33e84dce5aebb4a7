"""Placing a network on a device: its weights' layout may make it faster, and changes nothing that it computes."""

import pytest
import torch
from torch import nn

from headwater.models import backbones
from headwater.models.placing import placed
from rounding import NEAR

CPU = torch.device("cpu")


def encoder(name):
    return backbones.build(name, size=(8, 16, 16), mean=(0.5,), std=(0.2,), seed=0)


def passed(network, volumes):
    """What an encoder and its decoder make of volumes, and the gradients of its weights."""
    finest = network.decoded(network.levels(volumes))[0]
    finest.square().mean().backward()
    return [finest, *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]


@pytest.mark.usefixtures("float64")
def test_the_layout_of_weights_changes_nothing_but_rounding():
    volumes = torch.rand(2, 1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    plain, channels_last = (passed(network, volumes) for network in _both("monai/segresnet_small"))
    for one, other in zip(plain, channels_last, strict=True):
        torch.testing.assert_close(one, other, **NEAR)


def _both(name):
    return encoder(name), placed(encoder(name), CPU)


@pytest.mark.parametrize(("name", "expected"), [("monai/segresnet_small", True), ("monai/unet_small", False)])
def test_only_backbones_that_ask_for_it_have_channels_last(name, expected):
    network = placed(encoder(name), CPU)
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv3d)]
    # of a weight with one channel both layouts are the same
    told = [weight.is_contiguous() for weight in weights if min(weight.shape[:2]) > 1 and weight.shape[2] > 1]
    assert told and set(told) == {not expected}


def test_parameters_stay_the_same_objects_so_that_optimisers_go_on_with_them():
    network = encoder("monai/segresnet_small")
    before = list(network.parameters())
    assert all(one is other for one, other in zip(before, placed(network, CPU).parameters(), strict=True))
    # placed again, as at every validation, nothing is copied
    places = [parameter.data_ptr() for parameter in before]
    assert places == [parameter.data_ptr() for parameter in placed(network, CPU).parameters()]


def test_weights_are_written_in_the_plain_layout():
    tensors = placed(encoder("monai/segresnet_small"), CPU).tensors()
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    assert all(torch.equal(tensor, encoder("monai/segresnet_small").tensors()[key]) for key, tensor in tensors.items())
