"""Resizing: whole pictures brought to the size that a network takes, when they are scored."""

import torch.nn.functional as F
from torch import Tensor, nn

from headwater.models.encoder import Size
from headwater.models.task_network import Outputs


def taking(images: Size, network: nn.Module, *, size: Size) -> nn.Module:
    """A network of pictures of `size` pixels for `images` of another; of volumes it sees patches of its own size."""
    pictures = isinstance(images, int) and isinstance(size, int)
    return Resizing(network, size=size) if pictures and images != size else network


class Resizing(nn.Module):
    """A network in front of which images are brought to one size, smoothly and the same each time."""

    def __init__(self, network: nn.Module, *, size: int):
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, images: Tensor) -> Outputs:
        """What the network gives for float images (batch, 3, any height, any width)."""
        return self.network(F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True))
