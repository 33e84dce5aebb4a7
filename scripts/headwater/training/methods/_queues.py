"""Queues: the answers to the latest images, kept to compare the next ones with.

They are part of the training's state: lightly's memory bank is not saved, and a training would go on with noise.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.study.recipe import Training
from headwater.training.methods import _ranks


class Queue(nn.Module):
    """The latest answers (size, dimension), the newest first, the same on every rank; at first random directions."""

    def __init__(self, size: int, dimension: int):
        super().__init__()
        self.register_buffer("answers", F.normalize(torch.randn(size, dimension), dim=1))

    def push(self, answers: Tensor) -> None:
        """Take in all ranks' answers (batch, dimension) to a batch; as many of the oldest leave."""
        # a new tensor: the loss may still need the old one
        self.answers = torch.cat([_ranks.whole(answers).to(self.answers.dtype), self.answers])[: len(self.answers)]


def check_queue(training: Training, *, size: int) -> None:
    """Refuse a queue that does not even hold one batch."""
    if size < training.batch:
        raise UserError(f"queue {size} is shorter than batch {training.batch}", remedy="make it a few batches long")
