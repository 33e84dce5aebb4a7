"""3D ResNets of the MONAI library, with the names of MedicalNet's parameters and of timm's 2D ones."""

import torch.nn.functional as F
from monai.networks.nets import ResNet
from torch import Tensor, nn

from headwater.models.backbones import _volumes

BLOCKS = {
    "small": ("basic", (1, 1, 1, 1)),
    "10": ("basic", (1, 1, 1, 1)),
    "18": ("basic", (2, 2, 2, 2)),
    "34": ("basic", (3, 4, 6, 3)),
    "50": ("bottleneck", (3, 4, 6, 3)),
    "101": ("bottleneck", (3, 4, 23, 3)),
    "152": ("bottleneck", (3, 8, 36, 3)),
    "200": ("bottleneck", (3, 24, 36, 3)),
}
"""Kind of block, and number of blocks at each level, by depth."""

PLANES = {"small": (8, 16, 32, 64)}
"""Channels of the levels before a bottleneck's expansion, if not the usual."""
USUAL = (64, 128, 256, 512)


class _ResNet(ResNet):
    """A ResNet (He 2016, arXiv 1512.03385) of volumes; features are the means over the deepest level.

    The stem halves the sides twice, as in 2D and in MedicalNet; the library's own default halves them once. Shortcuts
    "A" have no parameters: they thin and pad with zeros; "B" are convolutions.
    """

    multiple = 1
    least = 32

    def __init__(self, block: str, layers: tuple[int, ...], planes: tuple[int, ...], *, shortcut: str) -> None:
        convolutions = {"conv1_t_stride": 2, "shortcut_type": shortcut, "bias_downsample": False}
        super().__init__(block, list(layers), list(planes), 3, 1, feed_forward=False, **convolutions)
        widths = (planes[0], *((4 if block == "bottleneck" else 1) * width for width in planes))
        self.pyramid = tuple((width, 2 ** (depth + 1)) for depth, width in enumerate(widths))

    def _downsample_basic_block(self, x: Tensor, planes: int, stride: int, spatial_dims: int = 3) -> Tensor:
        # the library's own cuts the gradient off
        thinned = x[:, :, ::stride, ::stride, ::stride]
        return F.pad(thinned, (0, 0, 0, 0, 0, 0, 0, planes - x.shape[1]))

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, channels of the deepest level) of (batch, 1, x, y, z)."""
        return _volumes.pooled(self.levels(volumes)[-1])

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """The outputs of the first convolution and of the four stages, the finest first; each halves the sides."""
        outputs = [self.act(self.bn1(self.conv1(volumes)))]
        x = self.maxpool(outputs[0])
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            outputs.append(x)
        return outputs


def resnet(depth: str, *, shortcut: str) -> nn.Module:
    """A 3D ResNet of a depth, or a small one for processors without an accelerator."""
    return _ResNet(*BLOCKS[depth], PLANES.get(depth, USUAL), shortcut=shortcut)
