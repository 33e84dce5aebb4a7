"""Ranks: what the processes of one pre-training know together, in the order in which a single one would have it."""

import torch
import torch.distributed as dist
from lightly.utils.dist import rank, world_size
from torch import Tensor


def whole(tensor: Tensor) -> Tensor:
    """The whole batch's rows of a tensor, on every rank alike; no gradient passes.

    A rank holds every so manieth row of the batch (see `engine.batches`), so the ranks' rows are interleaved.
    """
    if world_size() == 1:
        return tensor.detach()
    tensor = tensor.detach().contiguous()
    pieces = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(pieces, tensor)
    return torch.stack(pieces, dim=1).flatten(0, 1)


def share(tensor: Tensor) -> Tensor:
    """This rank's rows of what all ranks hold."""
    return tensor[rank() :: world_size()]


def mean(tensor: Tensor) -> Tensor:
    """The mean of a tensor over the ranks; no gradient passes."""
    if world_size() == 1:
        return tensor.detach()
    summed = tensor.detach().clone()
    dist.all_reduce(summed)
    return summed / world_size()
