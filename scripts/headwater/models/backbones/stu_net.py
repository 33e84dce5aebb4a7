"""STU-Net (Huang 2023, arXiv 2304.06716): residual U-Nets of 14 million to 1.46 billion parameters for CT.

No library provides them; parameters have the published names, such as `conv_blocks_context.0.0.conv1.weight`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.models.backbones import _volumes

DIMENSIONS = 3
COLOURS = 1
INITIALISATIONS = {"": "uniform (fan in), PyTorch's default"}
MODELS = ("test", "small", "base", "large", "huge")
STRIDE = {"": 32}
DECODER = {"": ("upsample_layers.", "conv_blocks_localization.")}

FORMS = {"test": (2, 1), "small": (16, 1), "base": (32, 1), "large": (64, 2), "huge": (96, 3)}
"""(channels of the finest level, blocks at each level), section 3.2 and table 2."""

MULTIPLE = 32
"""Five of its six levels halve each side."""


class _Block(nn.Module):
    """Two convolutions with instance norm and a shortcut, which is a convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, first: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, kernel_size=3, stride=stride, padding=1)
        self.norm1 = nn.InstanceNorm3d(outputs, affine=True)
        self.conv2 = nn.Conv3d(outputs, outputs, kernel_size=3, padding=1)
        self.norm2 = nn.InstanceNorm3d(outputs, affine=True)
        self.conv3 = nn.Conv3d(inputs, outputs, kernel_size=1, stride=stride) if first else None

    def forward(self, x: Tensor) -> Tensor:
        inner = F.leaky_relu(self.norm1(self.conv1(x)))
        shortcut = x if self.conv3 is None else self.conv3(x)
        return F.leaky_relu(self.norm2(self.conv2(inner)) + shortcut)


class _Upsampling(nn.Module):
    """Each voxel eight times over, then a convolution that changes the channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        # a convolution of single voxels gives the same before, at an eighth of the work
        x = self.conv(x)
        for axis in (2, 3, 4):
            x = x.repeat_interleave(2, dim=axis)
        return x


class _STUNet(nn.Module):
    """Six levels down and five up again."""

    def __init__(self, *, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * times for times in (1, 2, 4, 8, 16, 16)]
        below = widths[::-1]
        self.conv_blocks_context = nn.ModuleList(
            _stage(inputs, outputs, depth=depth, stride=2 if level else 1)
            for level, (inputs, outputs) in enumerate(pairwise([1, *widths]))
        )
        self.upsample_layers = nn.ModuleList(_Upsampling(*pair) for pair in pairwise(below))
        self.conv_blocks_localization = nn.ModuleList(
            _stage(2 * channels, channels, depth=depth) for channels in below[1:]
        )
        self.pyramid = tuple((channels, 2**level) for level, channels in enumerate(widths))
        # instance norms need two positions at the deepest level
        self.outlines, self.least = self.pyramid[:-1], 2 * MULTIPLE

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, channels of the deepest level) of (batch, 1, x, y, z)."""
        return _volumes.pooled(self.levels(volumes)[-1])

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """The outputs of the encoder's levels, the finest first; each but the first halves the sides."""
        outputs = [volumes]
        for stage in self.conv_blocks_context:
            outputs.append(stage(outputs[-1]))
        return outputs[1:]

    def decoded(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the decoder's levels, the finest first, which are the inputs of the network's last layers."""
        outputs = [levels[-1]]
        for up, stage, beside in zip(self.upsample_layers, self.conv_blocks_localization, levels[-2::-1], strict=True):
            outputs.append(stage(torch.cat([up(outputs[-1]), beside], dim=1)))
        return outputs[:0:-1]


def _stage(inputs: int, outputs: int, *, depth: int, stride: int = 1) -> nn.Sequential:
    """The blocks of a level; the first changes the shape."""
    later = (_Block(outputs, outputs, first=False) for _ in range(depth - 1))
    return nn.Sequential(_Block(inputs, outputs, stride=stride, first=True), *later)


def create(model: str, *, size: int | tuple[int, int, int]) -> tuple[nn.Module, int]:
    """A network with random weights that returns pooled features, and the number that sides must be a multiple of."""
    _volumes.check(f"stu_net/{model}", size=size, multiple=MULTIPLE, least=2 * MULTIPLE)
    width, depth = FORMS[model]
    return _STUNet(width=width, depth=depth), MULTIPLE
