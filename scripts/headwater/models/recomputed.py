"""Gradient checkpointing: blocks whose inside is computed a second time in the backward pass, in place of being kept.

Chen et al. 2016, arXiv 1604.06174.
"""

from functools import partial, reduce

from torch import Tensor, nn

from headwater.models.timm_library import timm


def blocks_of(network: nn.Module, x: Tensor, *, attn_mask: Tensor | None = None) -> Tensor:
    """The output of a transformer's `blocks`, one after the other, checkpointed if its `grad_checkpointing` says so.

    `attn_mask`: to which tokens each attends (broadcast to batch, heads, tokens, tokens); none is to all.
    """
    blocks = [block if attn_mask is None else partial(block, attn_mask=attn_mask) for block in network.blocks]
    if network.grad_checkpointing:
        return timm.models.checkpoint_seq(blocks, x)
    return reduce(lambda given, block: block(given), blocks, x)
