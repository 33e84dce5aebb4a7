"""Branches: an encoder with the projection head that self-supervised methods train it with and then discard."""

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
        """Projections (batch, dimension): the head's outputs for the encoder's features."""
        return self.head(self.encoder(images))

    def momentum_copy(self) -> "Branch":
        """A copy without gradients, to be updated as an exponential moving average."""
        return copy.deepcopy(self).requires_grad_(False)


@contextmanager
def fixed_seed() -> Iterator[None]:
    """A context in which new weights are always drawn the same, without touching the global random state."""
    # results must not depend on what was drawn before, so that each attempt and each rank starts alike
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def full_precision(device: torch.device) -> torch.autocast:
    """A context without autocast, because losses are computed in float32."""
    return torch.autocast(device_type=device.type, enabled=False)


def check_batch(training: Training, *, minimum: int, why: str) -> None:
    """Refuse a batch with fewer images than a method needs."""
    if training.batch < minimum:
        raise UserError(
            f"batch must be >= {minimum} (got {training.batch}): {why}", remedy=f"set batch to {minimum} or more"
        )


def check_one_average(training: Training, *, which: str) -> None:
    """Refuse a second moving average in addition to the method's own."""
    if training.ema is not None:
        raise UserError(f"{which} is already a moving average of the weights", remedy="leave out training.ema")
