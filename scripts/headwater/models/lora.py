"""LoRA: a transformer learns a small change of some weights, a product of two narrow matrices, and all else stays.

Hu 2022, arXiv 2106.09685, section 4.1. The change is added to the weight before it is used, by torch's parametrisation:
the network that learns is the one that is saved once the change is merged, to the bit, whatever reads the weight.
"""

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from headwater.core.errors import UserError
from headwater.study.recipe import Lora

ATTENTION = re.compile(r"(.*\.)?attn\.(qkv|proj)")
MLP = re.compile(r"(.*\.)?mlp\.(fc1|fc2)")
"""The names of what is adapted: linear layers as timm calls them."""


class LowRank(nn.Module):
    """Adds alpha / rank x up x down to a weight (out, in); `up` starts at zero, `down` as in the authors' code."""

    def __init__(self, weight: Tensor, *, lora: Lora, chance: torch.Generator):
        super().__init__()
        out, width = weight.shape
        reach = width**-0.5
        drawn = torch.empty(lora.rank, width).uniform_(-reach, reach, generator=chance)
        self.down, self.up = nn.Parameter(drawn.to(weight)), nn.Parameter(weight.new_zeros(out, lora.rank))
        self.scale = lora.alpha / lora.rank

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight (out, in), in its own number format under autocast too: it is what is merged."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.scale * (self.up @ self.down)


def adapt(network: nn.Module, *, lora: Lora, name: str, seed: int) -> frozenset[str]:
    """Freeze a network but for new low-rank changes of its attention; the names of what is frozen.

    Its outputs stay exactly as they were. Refuses networks without attention, and ranks above those of the weights.
    """
    chosen = list(_chosen(network, ATTENTION))
    if not chosen:
        raise UserError(f"{name} has no attention to adapt", remedy="remove lora, or choose a vision transformer")
    chosen += _chosen(network, MLP) if lora.mlp else []
    full = min(min(layer.weight.shape) for layer in chosen)
    if lora.rank > full:
        raise UserError(f"the rank of a weight of {name} is {full}, below lora.rank ({lora.rank})", remedy="lower it")
    network.requires_grad_(False)
    chance = torch.Generator().manual_seed(seed)
    for layer in chosen:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, lora=lora, chance=chance))
    return frozenset(key for key, parameter in network.named_parameters() if not parameter.requires_grad)


def merge(network: nn.Module) -> None:
    """Make low-rank changes part of the weights, if there are any: parameters then have the names that they had."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight") and isinstance(module.parametrizations.weight[0], LowRank):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def _chosen(network: nn.Module, names: re.Pattern) -> Iterator[nn.Linear]:
    """The linear layers of such names."""
    return (layer for name, layer in network.named_modules() if names.fullmatch(name) and isinstance(layer, nn.Linear))
