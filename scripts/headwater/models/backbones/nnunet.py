"""nnU-Net's residual encoder U-Net (Isensee 2024, arXiv 2404.09556), which nnssl pre-trains as ResEnc-L.

MONAI has no such network; parameters have the published names, such as `encoder.stages.0.blocks.0.conv1.conv.weight`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.models.backbones import _volumes

DIMENSIONS = 3
COLOURS = 1
INITIALISATIONS = {"": "He normal (fan in)"}
MODELS = ("resenc_test", "resenc_l")
STRIDE = {"resenc_test": 4, "resenc_l": 32}
SHALLOW = r"_test$"
DECODER = {"": ("decoder.",)}

FORMS = {
    "resenc_test": ((4, 8, 12), (1, 1, 2)),
    "resenc_l": ((32, 64, 128, 256, 320, 320), (1, 3, 4, 6, 6, 6)),
}
"""Channels and blocks of each level (Wald 2024, arXiv 2410.23132, appendix)."""

SLOPE = 0.01
"""Slope of the leaky ReLU below zero."""


class _Convolution(nn.Module):
    """Convolution and instance norm."""

    def __init__(self, inputs: int, outputs: int, *, side: int = 3, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel_size=side, stride=stride, padding=side // 2, bias=bias)
        self.norm = nn.InstanceNorm3d(outputs, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class _Block(nn.Module):
    """Two convolutions and a shortcut: pooled where the block strides, and a convolution where channels change."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = _Convolution(inputs, outputs, stride=stride)
        self.conv2 = _Convolution(outputs, outputs)
        pool = [nn.AvgPool3d(stride, stride)] if stride > 1 else []
        projection = [_Convolution(inputs, outputs, side=1, bias=False)] if inputs != outputs else []
        self.skip = nn.Sequential(*pool, *projection)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv2(_activated(self.conv1(x)))
        return _activated(inner + self.skip(x))


class _Stage(nn.Module):
    """The blocks of a level, of which the first changes the shape."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, depth: int) -> None:
        super().__init__()
        later = (_Block(outputs, outputs, stride=1) for _ in range(depth - 1))
        self.blocks = nn.Sequential(_Block(inputs, outputs, stride=stride), *later)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class _Convolutions(nn.Module):
    """Convolutions with norm and activation, one after another."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(_Convolution(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return _activated(self.convs(x))


class _ResidualEncoderUNet(nn.Module):
    """A residual encoder, of which each level but the first halves the sides, and a plain decoder."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        strides = [1] + [2] * (len(widths) - 1)
        stages = (
            _Stage(inputs, outputs, stride=stride, depth=depth)
            for (inputs, outputs), stride, depth in zip(pairwise([widths[0], *widths]), strides, depths, strict=True)
        )
        self.encoder = nn.ModuleDict({"stem": _Convolutions(1, widths[0]), "stages": nn.Sequential(*stages)})
        below = widths[::-1]
        self.decoder = nn.ModuleDict(
            {
                "stages": nn.ModuleList(_Convolutions(2 * width, width) for width in below[1:]),
                "transpconvs": nn.ModuleList(nn.ConvTranspose3d(*pair, 2, stride=2) for pair in pairwise(below)),
            }
        )
        self.pyramid = tuple((width, 2**level) for level, width in enumerate(widths))
        self.multiple, self.outlines = 2 ** (len(widths) - 1), self.pyramid[:-1]
        # instance norms need two positions at the deepest level
        self.least = 2 * self.multiple
        self.apply(_draw)

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, channels of the deepest level) of (batch, 1, x, y, z)."""
        return _volumes.pooled(self.levels(volumes)[-1])

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """The outputs of the encoder's levels, the finest first; each but the first halves the sides."""
        outputs = [self.encoder["stem"](volumes)]
        for stage in self.encoder["stages"]:
            outputs.append(stage(outputs[-1]))
        return outputs[1:]

    def decoded(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the decoder's levels, the finest first, which are the inputs of the network's last layers."""
        outputs = [levels[-1]]
        for up, stage, beside in zip(self.decoder["transpconvs"], self.decoder["stages"], levels[-2::-1], strict=True):
            outputs.append(stage(torch.cat([up(outputs[-1]), beside], dim=1)))
        return outputs[:0:-1]


def _activated(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def _draw(module: nn.Module) -> None:
    """First weights of a convolution as nnU-Net draws them: normal (He, fan in), biases of 0."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def create(model: str, *, size: int | tuple[int, int, int]) -> tuple[nn.Module, int]:
    """A network with random weights that returns pooled features, and the number that sides must be a multiple of."""
    network = _ResidualEncoderUNet(*FORMS[model])
    _volumes.check(f"nnunet/{model}", size=size, multiple=network.multiple, least=network.least)
    return network, network.multiple
