"""The 3D U-Net of Models Genesis (Zhou 2019, arXiv 1908.06912), which SuPreM also uses and no library provides.

Parameters have the published names, such as `down_tr64.ops.0.conv1.weight`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headwater.models.backbones import _volumes

DIMENSIONS = 3
COLOURS = 1
INITIALISATIONS = {"unet": "uniform (fan in), PyTorch's default"}
MODELS = ("unet",)
BATCH_NORM = ("genesis/unet",)
FOOTNOTE = (
    "norms use the running statistics of the file; the published code normalises by each batch's own, so that what it "
    "sees in a case hangs on its neighbours"
)

STRIDE = {"unet": 8}
DECODER = {"unet": ("up_tr",)}

MULTIPLE = 8
"""Its three poolings halve each side."""


class _Convolution(nn.Module):
    """Convolution, norm, ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, kernel_size=3, padding=1)
        self.bn1 = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn1(self.conv1(x)))


class _Level(nn.Module):
    """Two convolutions, on the way up after upsampling the level below."""

    def __init__(self, *widths: int, below: int = 0):
        super().__init__()
        if below:
            self.up_conv = nn.ConvTranspose3d(below, below, kernel_size=2, stride=2)
        inputs, middle, outputs = widths
        self.ops = nn.Sequential(_Convolution(inputs + below, middle), _Convolution(middle, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.ops(x)

    def joined(self, below: Tensor, beside: Tensor) -> Tensor:
        """The output for the level below, upsampled, and the skip connection from the encoder."""
        return self(torch.cat([self.up_conv(below), beside], dim=1))


class _UNet(nn.Module):
    """Four levels of 64 to 512 channels down and three up again, 19.07 million parameters."""

    pyramid = ((64, 1), (128, 2), (256, 4), (512, 8))
    outlines = pyramid[:-1]

    def __init__(self) -> None:
        super().__init__()
        self.down_tr64 = _Level(1, 32, 64)
        self.down_tr128 = _Level(64, 64, 128)
        self.down_tr256 = _Level(128, 128, 256)
        self.down_tr512 = _Level(256, 256, 512)
        self.up_tr256 = _Level(256, 256, 256, below=512)
        self.up_tr128 = _Level(128, 128, 128, below=256)
        self.up_tr64 = _Level(64, 64, 64, below=128)

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, 512) of (batch, 1, x, y, z)."""
        return _volumes.pooled(self.levels(volumes)[-1])

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """The outputs of the encoder's levels, the finest first; each level halves the sides."""
        outputs = [self.down_tr64(volumes)]
        for level in (self.down_tr128, self.down_tr256, self.down_tr512):
            outputs.append(level(nn.functional.max_pool3d(outputs[-1], 2)))
        return outputs

    def decoded(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the decoder's levels, the finest, which is the input of a segmentation layer, first."""
        outputs = [levels[-1]]
        for level, beside in zip((self.up_tr256, self.up_tr128, self.up_tr64), levels[-2::-1], strict=True):
            outputs.append(level.joined(outputs[-1], beside))
        return outputs[:0:-1]


def create(model: str, *, size: int | tuple[int, int, int]) -> tuple[nn.Module, int]:
    """The U-Net with random weights that returns pooled features, and the number that sides must be a multiple of."""
    _volumes.check(f"genesis/{model}", size=size, multiple=MULTIPLE)
    return _UNet(), MULTIPLE
