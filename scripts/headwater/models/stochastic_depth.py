"""Stochastic depth: in training, the branches of residual blocks are left out at random, image by image.

Huang et al. 2016, arXiv 1603.09382, section 3; known as drop path.
"""

import torch
from torch import nn

from headwater.core.errors import UserError
from headwater.models.timm_library import timm

PLACES = ("drop_path", "drop_path1", "drop_path2")
"""Where the blocks of timm's networks leave out their branches, which are attention and MLP in transformers."""


def add(network: nn.Module, *, rate: float, name: str) -> None:
    """Let a network leave out branches: those of its last block at a `rate`, of earlier ones in proportion, as in timm.

    Its weights and their names stay the same, and so do its outputs in evaluation.
    """
    blocks = [block for block in network.modules() if any(hasattr(block, place) for place in PLACES)]
    if not blocks:
        raise UserError(f"{name} has no branches to leave out", remedy="remove training.drop_path")
    for block, own in zip(blocks, torch.linspace(0, rate, len(blocks)).tolist(), strict=True):
        for place in PLACES:
            if own and hasattr(block, place):
                setattr(block, place, timm.layers.DropPath(own))
