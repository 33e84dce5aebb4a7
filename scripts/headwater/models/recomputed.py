"""Gradient checkpointing: blocks whose inside is computed a second time in the backward pass, in place of being kept.

Chen et al. 2016, arXiv 1604.06174.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, reduce

from torch import Tensor, nn

from headwater.models.timm_library import timm

RUNNING = ("running_mean", "running_var", "num_batches_tracked")
"""The buffers of BatchNorm layers."""


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """A block, of a pass through BatchNorm layers that is made twice, that leaves their buffers as they are.

    Outputs in training do not depend on these running statistics, so the gradients are those of the other time.
    """
    running = [tensor for name, tensor in network.named_buffers() if name.rpartition(".")[2] in RUNNING]
    before = [tensor.clone() for tensor in running]
    yield
    for tensor, first in zip(running, before, strict=True):
        tensor.copy_(first)


def compares_images(network: nn.Module) -> bool:
    """Whether a network in training normalises an image by the others that pass with it, as BatchNorm does."""
    return any(
        RUNNING[0] in dict(module.named_buffers(recurse=False)) for module in network.modules() if module.training
    )


def blocks_of(network: nn.Module, x: Tensor, *, attn_mask: Tensor | None = None) -> Tensor:
    """The output of a transformer's `blocks`, one after the other, checkpointed if its `grad_checkpointing` says so.

    `attn_mask`: to which tokens each attends (broadcast to batch, heads, tokens, tokens); none is to all.
    """
    blocks = [block if attn_mask is None else partial(block, attn_mask=attn_mask) for block in network.blocks]
    if network.grad_checkpointing:
        return timm.models.checkpoint_seq(blocks, x)
    return reduce(lambda given, block: block(given), blocks, x)
