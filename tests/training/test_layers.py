"""Layers are timm's, as of the same network with a classifier on top."""

import pytest
import timm
import torch
from torch import nn

from fitted_made import fit, learner, training
from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.study.recipe import Training
from headwater.training import layers

NETWORKS = (
    *("resnet18", "test_resnet", "test_convnext", "test_vit", "test_efficientnet", "mobilenetv3_small_050"),
    *("densenet121", "swin_s3_tiny_224", "cait_xxs24_224", "inception_v3", "regnetx_002"),
)


def by_name(groups: list[dict], network: nn.Module) -> dict[str, tuple[float, float]]:
    """(rate, weight decay) of each parameter by its name."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        names[id(each)]: (group["lr_scale"], group["weight_decay"])
        for group in groups
        for each in group["params"]
        if id(each) in names
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_are_timms_of_the_network_with_its_classifier(name):
    training = Training(steps=1, layer_decay=0.5, weight_decay=0.1)
    size = 224 if "224" in name or name == "inception_v3" else 32
    with torch.device("meta"):
        whole = timm.create_model(name, num_classes=3)
    encoder = backbones.build(f"timm/{name}", size=size, mean=(0.5,), std=(0.25,), seed=0)
    network = nn.Module()
    network.encoder, network.head = encoder, nn.Linear(encoder.width, 3)
    ours = layers.layer_groups(network, training=training)
    theirs = timm.optim.param_groups_layer_decay(
        whole, 0.1, no_weight_decay_list=whole.no_weight_decay() if hasattr(whole, "no_weight_decay") else (),
        layer_decay=0.5,
    )  # fmt: skip
    wanted, found = by_name(theirs, whole), by_name(ours, encoder.backbone)
    assert found and found == {key: wanted[key] for key in found}
    lacking = [wanted[key] for key in wanted.keys() - found.keys()]
    assert sorted(by_name(ours, network.head).values()) == [(1.0, 0.0), (1.0, 0.1)]
    assert {rate for rate, _ in lacking} == {1.0}
    assert len({rate for rate, _ in found.values()}) > 2


def test_networks_that_do_not_tell_their_layers_apart_are_refused():
    with pytest.raises(UserError, match=r"this network does not tell its layers apart; remove layer_decay"):
        layers.layers_of(nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize("held", [None, 3])
def test_only_the_last_blocks_learn(tmp_path, name, held):
    made = learner(f"timm/{name}", trained_blocks=2, frozen_steps=held, how=training(optimiser="adamw", lr=1e-2))
    start = {key: tensor.clone() for key, tensor in made.encoder.backbone.state_dict().items()}
    places = layers.layers_of(made.encoder.backbone)
    last = {key for key, layer in places.items() if layer >= places[layers.HEAD] - 2} - {layers.HEAD}
    assert last and len(last) < len(places) - 1 and places[layers.HEAD] - 2 in {places[key] for key in last}
    fit(tmp_path, made)
    moved = {key for key, tensor in made.encoder.backbone.state_dict().items() if not torch.equal(tensor, start[key])}
    of_statistics = {key for key in moved if "running" in key or "tracked" in key}
    assert moved - of_statistics == last
    # a norm's statistics move where its scale does
    assert {key.rpartition(".")[0] + ".weight" for key in of_statistics} <= last
    assert bool(of_statistics) == (name == "test_resnet")
    trained = {id(each) for group in made.parameter_groups(Training(steps=1)) for each in group["params"]}
    names = {key for key, each in made.encoder.backbone.named_parameters() if id(each) in trained}
    assert names == last


def test_nothing_below_the_last_blocks_gets_a_gradient():
    made = learner("timm/test_resnet", trained_blocks=1)
    made.mode(True)
    inner = []
    made.encoder.backbone.layer1.register_forward_hook(lambda *given: inner.append(given[2].requires_grad))
    made.network(torch.rand(4, 3, 32, 32)).sum().backward()
    assert inner == [False]
    got = {key for key, each in made.encoder.backbone.named_parameters() if each.grad is not None}
    assert got and all(key.startswith("layer4") for key in got)
    modes = {place: module.training for place, module in made.encoder.backbone.named_modules() if "bn" in place}
    assert all(training == place.startswith("layer4") for place, training in modes.items())


def test_more_blocks_than_there_are_are_refused():
    blocks = layers.layers_of(learner("timm/test_vit").encoder.backbone)[layers.HEAD] - 1
    learner("timm/test_vit", trained_blocks=blocks)
    with pytest.raises(UserError, match=rf"timm/test_vit has only {blocks} blocks above its stem, and 9 are to be"):
        learner("timm/test_vit", trained_blocks=9)
