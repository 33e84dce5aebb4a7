"""Where a network computes: its device, and the layout of its weights that is fastest there."""

import torch
from torch import Tensor, nn

from headwater.models import backbones
from headwater.models.encoder import Encoder


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """The network itself, on a device; on a CPU with channels last in the weights of backbones that ask for it.

    Convolutions compute in the layout of their weights. What they compute is the same but for rounding.
    """
    network.to(device)
    encoders = [module for module in network.modules() if isinstance(module, Encoder)]
    for encoder in encoders if device.type == "cpu" else ():
        if backbones.is_channels_last(encoder.name):
            for module in encoder.modules():
                if isinstance(module, nn.Conv3d):
                    module.weight.data = module.weight.data.to(memory_format=torch.channels_last_3d)
    return network


def sent(small: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device, without waiting until all that was asked of a GPU before is done."""
    return (small.pin_memory() if device.type == "cuda" else small).to(device, non_blocking=True)
