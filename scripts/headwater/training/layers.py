"""Layers: how deep each parameter of a network lies, by which learning rates decay and the first layers stay frozen."""

from types import SimpleNamespace

from torch import nn

from headwater.core.errors import UserError
from headwater.models.encoder import Encoder
from headwater.models.task_network import TaskNetwork
from headwater.models.timm_library import timm
from headwater.study.recipe import Training

HEAD = "(tasks)"
"""What stands for the heads among the names of a backbone's parameters; no pattern of timm's begins like it."""


def layers_of(backbone: nn.Module, *, name: str = "this network") -> dict[str, int]:
    """The layer of each parameter of a backbone by its name, from 0 for the stem, and under HEAD that of the heads.

    Layers are those of timm's `group_matcher`, as of the same network with a classifier on top.
    """
    if not hasattr(backbone, "group_matcher"):
        remedy = "remove layer_decay and trained_blocks, or choose another backbone"
        raise UserError(f"{name} does not tell its layers apart", remedy=remedy)
    whole = SimpleNamespace(named_parameters=lambda: [*backbone.named_parameters(), (HEAD, None)])
    return timm.models.group_parameters(whole, backbone.group_matcher(coarse=False), reverse=True)


def still(encoder: Encoder, *, trained_blocks: int) -> frozenset[str]:
    """The names of an encoder's parameters below its last blocks, which get no gradient; refuses fewer blocks."""
    layers = layers_of(encoder.backbone, name=encoder.name)
    blocks = layers[HEAD] - 1
    if trained_blocks > blocks:
        raise UserError(
            f"{encoder.name} has only {blocks} blocks above its stem, and {trained_blocks} are to be trained",
            remedy="lower trained_blocks, or remove it",
        )
    below = {name for name, layer in layers.items() if layer < layers[HEAD] - trained_blocks}
    for name, parameter in encoder.backbone.named_parameters():
        if name in below:
            parameter.requires_grad_(False)
    return frozenset(f"backbone.{name}" for name in below)


def layer_groups(network: TaskNetwork, *, training: Training) -> list[dict]:
    """Parameter groups whose learning rate shrinks by `layer_decay` per layer below the head (arXiv 2106.08254).

    They are those of timm's `param_groups_layer_decay` of the same network with a classifier on top.
    """
    backbone = network.encoder.backbone
    below = timm.optim.param_groups_layer_decay(
        backbone,
        weight_decay=training.weight_decay,
        no_weight_decay_list=getattr(backbone, "no_weight_decay", set)(),
        layer_decay=training.layer_decay,
    )
    layers = layers_of(backbone, name=network.encoder.name)
    # without its classifier, timm takes a network's last block for the top, unless a norm or convolution follows it
    above = layers[HEAD] - max(layer for name, layer in layers.items() if name != HEAD)
    for group in below:
        group["lr_scale"] *= training.layer_decay**above
    # as everywhere, biases and the scales of norms are not decayed
    decayed = [parameter for parameter in network.head.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.head.parameters() if parameter.ndim <= 1]
    return [
        *below,
        {"params": decayed, "lr_scale": 1.0, "weight_decay": training.weight_decay},
        {"params": others, "lr_scale": 1.0, "weight_decay": 0.0},
    ]
