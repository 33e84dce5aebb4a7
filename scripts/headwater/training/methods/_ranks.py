"""Collectives for pre-training methods, with the batch in the order in which a single rank would have it."""

import torch
import torch.distributed as dist
from lightly.utils.dist import gather, rank, world_size
from torch import Tensor


def whole(tensor: Tensor) -> Tensor:
    """The rows of all ranks (an all-gather), in the order of the whole batch; without gradient."""
    if world_size() == 1:
        return tensor.detach()
    tensor = tensor.detach().contiguous()
    pieces = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(pieces, tensor)
    # ranks hold every n-th row of the batch (see training.batches), so their rows are interleaved
    return torch.stack(pieces, dim=1).flatten(0, 1)


def gathered(tensor: Tensor) -> Tensor:
    """The rows of all ranks with their gradient, rank by rank: for losses that do not depend on the order of images.

    If each rank's loss is that of the whole batch, the mean over ranks of the parameters' gradients is its gradient.
    """
    return torch.cat(gather(tensor)) if world_size() > 1 else tensor


def share(tensor: Tensor) -> Tensor:
    """This rank's rows of a tensor for the whole batch."""
    return tensor[rank() :: world_size()]


def mean(tensor: Tensor) -> Tensor:
    """The mean of a tensor over the ranks (an all-reduce), without gradient."""
    if world_size() == 1:
        return tensor.detach()
    summed = tensor.detach().clone()
    dist.all_reduce(summed)
    return summed / world_size()
