"""Where a network computes: its device, and the layout of its weights that is fastest there."""

import torch
from torch import Tensor, nn

from headwater.models import backbones
from headwater.models.encoder import Encoder


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """The network itself, on a device, with channels last in the weights of the convolutions that this makes faster.

    On a CPU these are those of volumes, in backbones that ask for it; on a GPU those of pictures, unless a layer needs
    CHANNELS_FIRST. Convolutions compute in the layout of their weights. What they compute is the same but for rounding.
    """
    network.to(device)
    if device.type == "cpu":
        encoders = [module for module in network.modules() if isinstance(module, Encoder)]
        for encoder in encoders:
            if backbones.is_channels_last(encoder.name):
                _lay_out(encoder, (nn.Conv3d,), layout=torch.channels_last_3d)
    elif not any(getattr(module, "CHANNELS_FIRST", False) for module in network.modules()):
        _lay_out(network, (nn.Conv2d, nn.ConvTranspose2d), layout=torch.channels_last)
    return network


def _lay_out(network: nn.Module, kinds: tuple[type, ...], *, layout: torch.memory_format) -> None:
    for module in network.modules():
        if isinstance(module, kinds):
            module.weight.data = module.weight.data.to(memory_format=layout)


def sent(small: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device, without waiting until all that was asked of a GPU before is done."""
    return (small.pin_memory() if device.type == "cuda" else small).to(device, non_blocking=True)
