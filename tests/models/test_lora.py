"""LoRA: exact before the first step, a change of low rank after it, and part of the weights in the file."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import rounding
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones, lora
from headwater.study.recipe import Lora


def network(name="timm/test_vit"):
    return backbones.build(name, size=32, mean=(0.5,), std=(0.25,), seed=0).eval()


def adapted(name="timm/test_vit", **how):
    made = network(name)
    still = lora.adapt(made, lora=Lora(**{"rank": 4, **how}), name=name, seed=1)
    return made, still


def moved(made):
    """The network after something like training."""
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith((".up", ".down")):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=chance))
    return made


IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mlp", [False, True])
def test_outputs_are_exactly_those_of_the_network_before_the_first_step(mlp):
    made, _ = adapted(mlp=mlp)
    assert torch.equal(made(IMAGES), network()(IMAGES))
    assert not torch.equal(moved(made)(IMAGES), network()(IMAGES))


@pytest.mark.parametrize("mlp", [False, True])
def test_what_learns_is_two_narrow_matrices_a_layer(mlp):
    made, still = adapted(mlp=mlp)
    trained = {name: tuple(p.shape) for name, p in made.named_parameters() if p.requires_grad}
    assert not still & trained.keys() and still | trained.keys() == set(dict(made.named_parameters()))
    wanted = {}
    for place, layer in network().named_modules():
        if isinstance(layer, nn.Linear) and ("attn" in place or mlp):
            out, width = layer.weight.shape
            inner = f"{place}.parametrizations.weight.0"
            wanted |= {f"{inner}.down": (4, width), f"{inner}.up": (out, 4)}
    assert trained == wanted
    made.train()(IMAGES).sum().backward()
    # `up` starts at zero, so `down` gets its first gradient later
    assert {name for name, p in made.named_parameters() if p.grad is not None} == trained.keys()


def test_merged_it_says_what_it_said_to_the_bit_under_the_old_names():
    made = moved(adapted()[0])
    before, plain = made(IMAGES), network()
    lora.merge(made)
    assert torch.equal(made(IMAGES), before)
    assert {k: v.shape for k, v in made.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    again = network()
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(IMAGES), before)
    changed = {k for k, v in made.state_dict().items() if not torch.equal(v, plain.state_dict()[k])}
    assert changed and all(key.endswith(("attn.qkv.weight", "attn.proj.weight")) for key in changed)


@rounding.in_float64()
def test_a_layer_is_that_of_the_paper():
    layer, chance = nn.Linear(12, 9), torch.Generator().manual_seed(0)
    given, weight = torch.randn(5, 12), layer.weight.detach().clone()
    host = nn.Module()
    host.attn = nn.Module()
    host.attn.qkv = layer
    lora.adapt(host, lora=Lora(rank=3, alpha=6), name="it", seed=0)
    change = layer.parametrizations.weight[0]
    with torch.no_grad():
        change.up.copy_(torch.randn(9, 3, generator=chance))
    paper = F.linear(given, weight, layer.bias) + 6 / 3 * (given @ change.down.T) @ change.up.T
    torch.testing.assert_close(layer(given), paper, **rounding.NEAR)
    assert change.down.abs().max() <= 12**-0.5


def test_first_matrices_follow_from_the_seed():
    one, same, other = (adapted()[0] for _ in range(3))
    torch.manual_seed(9)
    again = network()
    lora.adapt(again, lora=Lora(rank=4), name="it", seed=2)
    first = next(key for key in one.state_dict() if key.endswith(".down"))
    assert torch.equal(one.state_dict()[first], same.state_dict()[first])
    assert not torch.equal(other.state_dict()[first], again.state_dict()[first])


def test_what_learns_in_bf16_is_what_is_merged():
    layer = moved(adapted()[0]).backbone.blocks[0].attn.qkv
    with torch.autocast("cpu", dtype=torch.bfloat16):
        learning = layer.weight
    assert torch.equal(learning, layer.weight) and learning.dtype == torch.float32


def test_networks_without_attention_and_ranks_above_the_weights_are_refused():
    with pytest.raises(UserError, match="timm/test_resnet has no attention to adapt; remove lora"):
        adapted("timm/test_resnet")
    with pytest.raises(UserError, match=r"the rank of a weight of timm/test_vit is 64, below lora.rank \(65\)"):
        adapted(rank=65)


@pytest.mark.parametrize("start", registry.constant("backbones", "timm", "ATTENTIVE", default=()))
def test_a_network_that_the_plan_lets_pass_has_attention(start):
    with torch.device("meta"):
        made = timm.create_model(timm.list_models(f"{start}*")[0], num_classes=0)
    assert list(lora._chosen(made, lora.ATTENTION)) and list(lora._chosen(made, lora.MLP))
