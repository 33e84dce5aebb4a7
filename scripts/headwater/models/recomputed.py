"""Gradient checkpointing: blocks whose inside is computed a second time in the backward pass, in place of being kept.

Chen et al. 2016, arXiv 1604.06174.
"""

from torch import Tensor, nn

from headwater.models.timm_library import timm


def blocks_of(network: nn.Module, x: Tensor) -> Tensor:
    """The output of a transformer's `blocks`, one after the other, checkpointed if its `grad_checkpointing` says so."""
    return timm.models.checkpoint_seq(network.blocks, x) if network.grad_checkpointing else network.blocks(x)
