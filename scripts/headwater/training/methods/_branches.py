"""Branches: a network with the small one on top of it that self-supervised methods train it by, and throw away."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.models.encoder import Encoder
from headwater.study.recipe import Training


class Branch(nn.Module):
    """An encoder with its projection head."""

    def __init__(self, encoder: Encoder, head: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """What the head makes of the features (batch, dimension)."""
        return self.head(self.encoder(images))

    def follower(self) -> "Branch":
        """A copy that gradients leave alone: it follows by a moving average."""
        return copy.deepcopy(self).requires_grad_(False)


@contextmanager
def drawn() -> Iterator[None]:
    """Inside, new weights are always the same ones; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def in_full(device: torch.device) -> torch.autocast:
    """Inside, numbers are as long as they come: a loss is no place for bf16."""
    return torch.autocast(device_type=device.type, enabled=False)


def check_batch(training: Training, *, least: int, why: str) -> None:
    """Refuse a batch with fewer images than a method needs."""
    if training.batch < least:
        raise UserError(f"batch {training.batch} is too small: {why}", remedy=f"make it {least} or more")


def check_one_average(training: Training, *, which: str) -> None:
    """Refuse a second moving average beside the method's own."""
    if training.ema is not None:
        raise UserError(f"{which} already is a moving average", remedy="leave training.ema out")
