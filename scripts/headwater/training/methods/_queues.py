"""Queues: the projections of the latest images, kept for comparison with the next ones (MoCo's and SwAV's queue).

A queue is a buffer and so part of the checkpoint. lightly's memory bank is not saved: a resumed training would start
with a queue of noise.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.study.recipe import Training
from headwater.training.methods import _ranks


class Queue(nn.Module):
    """The latest projections (size, dimension), newest first, the same on every rank; at first random directions."""

    def __init__(self, size: int, dimension: int):
        super().__init__()
        self.register_buffer("answers", F.normalize(torch.randn(size, dimension), dim=1))

    def push(self, answers: Tensor) -> None:
        """Add all ranks' projections (batch, dimension) of a mini-batch, and drop as many of the oldest."""
        # a new tensor, because the backward pass may still need the old one
        self.answers = torch.cat([_ranks.whole(answers).to(self.answers.dtype), self.answers])[: len(self.answers)]


def check_queue(training: Training, *, size: int) -> None:
    """Refuse a queue shorter than one batch."""
    if size < training.batch:
        raise UserError(f"queue must be >= batch {training.batch} (got {size})", remedy="make it a few batches long")
