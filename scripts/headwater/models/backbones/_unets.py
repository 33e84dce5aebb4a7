"""U-Nets of the MONAI library: its own residual one, and nnU-Net's."""

from collections.abc import Sequence

import torch
from monai.networks.layers.simplelayers import SkipConnection
from monai.networks.nets import DynUNet, UNet
from torch import Tensor, nn

from headwater.models.backbones import _volumes


class _UNet(UNet):
    """MONAI's residual U-Net (Kerfoot 2018, STACOM), with instance norm, so that no case sees another.

    The last layer keeps its norm and activation: a layer that names structures comes after it.
    """

    def __init__(self, *, channels: Sequence[int]) -> None:
        halvings = len(channels) - 1
        super().__init__(3, 1, channels[0], channels, (2,) * halvings, num_res_units=2, norm="instance")
        # the deepest level does not halve again
        strides = [2 ** min(depth + 1, halvings) for depth in range(len(channels))]
        self.pyramid = tuple(zip(channels, strides, strict=True))
        # each level on the way up has the channels of the one above it
        self.outlines = tuple((channels[max(0, depth - 1)], 2**depth) for depth in range(halvings))
        self.multiple, self.least = 2**halvings, 2 ** (halvings + 1)

    def _get_up_layer(self, in_channels: int, out_channels: int, strides: int, is_top: bool) -> nn.Module:
        return super()._get_up_layer(in_channels, out_channels, strides, is_top=False)

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, channels of the deepest level) of (batch, 1, x, y, z)."""
        return _volumes.pooled(self.levels(volumes)[-1])

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """The outputs of the encoder's levels, the finest first; each but the last halves the sides."""
        outputs = [volumes]
        for down in self._ways()[0]:
            outputs.append(down(outputs[-1]))
        return outputs[1:]

    def decoded(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the decoder's levels, the finest first."""
        outputs = [levels[-1]]
        for up, beside in zip(self._ways()[1], levels[-2::-1], strict=True):
            # in this order the library joins them
            outputs.append(up(torch.cat([beside, outputs[-1]], dim=1)))
        return outputs[:0:-1]

    def _ways(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """The layers on the way down, and those on the way up from the deepest; the library nests them."""
        down, up, block = [], [], self.model
        while isinstance(block, nn.Sequential) and len(block) == 3 and isinstance(block[1], SkipConnection):
            down.append(block[0])
            up.append(block[2])
            block = block[1].submodule
        return [*down, block], up[::-1]


class _DynUNet(DynUNet):
    """nnU-Net's plain U-Net (Isensee 2021, Nature Methods 18, 203) with two convolutions a level and instance norm."""

    def __init__(self, *, filters: Sequence[int]) -> None:
        strides = [1] + [2] * (len(filters) - 1)
        super().__init__(3, 1, 1, [3] * len(filters), strides, strides[1:], filters=filters)
        # the library keeps every layer a second time in the order of its forward pass, under a second name
        del self.skip_layers
        self.output_block = nn.Identity()
        self.pyramid = tuple((width, 2**depth) for depth, width in enumerate(filters))
        self.multiple, self.least, self.outlines = 2 ** (len(filters) - 1), 2 ** len(filters), self.pyramid[:-1]

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, channels of the deepest level) of (batch, 1, x, y, z)."""
        return _volumes.pooled(self.levels(volumes)[-1])

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """The outputs of the encoder's levels, the finest first; each but the first halves the sides."""
        outputs = [self.input_block(volumes)]
        for down in (*self.downsamples, self.bottleneck):
            outputs.append(down(outputs[-1]))
        return outputs

    def decoded(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the decoder's levels, the finest first, which are the inputs of the network's heads."""
        outputs = [levels[-1]]
        for up, beside in zip(self.upsamples, levels[-2::-1], strict=True):
            outputs.append(up(outputs[-1], beside))
        return outputs[:0:-1]


def unet(*, small: bool) -> nn.Module:
    """MONAI's U-Net of five levels, or one of three for processors without an accelerator."""
    return _UNet(channels=(8, 16, 32) if small else (16, 32, 64, 128, 256))


def dynunet(*, small: bool) -> nn.Module:
    """nnU-Net's U-Net of six levels, or one of three for processors without an accelerator."""
    return _DynUNet(filters=(8, 16, 32) if small else (32, 64, 128, 256, 320, 320))
