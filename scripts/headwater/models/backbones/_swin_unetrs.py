"""Swin UNETRs of the MONAI library: a transformer of shifted windows, and a convolutional decoder."""

from collections.abc import Sequence

from monai.networks.nets import SwinUNETR
from torch import Tensor, nn

from headwater.models.backbones import _volumes

USUAL = 48
"""Features at half resolution of the published networks, unless their names say otherwise."""


class _SwinUNETR(SwinUNETR):
    """Swin UNETR (Hatamizadeh 2022, arXiv 2201.01266), 62.19 million parameters; features of its transformer.

    In its second version, of 72.76 million (He 2023, MICCAI, section 2), convolutions precede each stage.
    """

    multiple = 32

    def __init__(self, *, second: bool, features: int) -> None:
        super().__init__(in_channels=1, out_channels=1, feature_size=features, use_v2=second)
        self.out = nn.Identity()
        self.pyramid = ((1, 1), *((features * 2**level, 2 ** (level + 1)) for level in range(5)))
        self.outlines = ((features, 1), *((features * 2**level, 2 ** (level + 1)) for level in range(4)))

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, 16 * features) of (batch, 1, x, y, z)."""
        return _volumes.pooled(self.swinViT(volumes, self.normalize)[-1])

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """The volume itself, which its decoder sees as well, and the five outputs of the transformer."""
        return [volumes, *self.swinViT(volumes, self.normalize)]

    def decoded(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the decoder's levels, the finest, which is the input of the network's last layer, first."""
        volumes, *hidden, beside, deepest = levels
        outputs = [self.decoder5(self.encoder10(deepest), beside)]
        skips = (self.encoder1(volumes), self.encoder2(hidden[0]), self.encoder3(hidden[1]), self.encoder4(hidden[2]))
        ups = (self.decoder4, self.decoder3, self.decoder2, self.decoder1)
        for up, skip in zip(ups, reversed(skips), strict=True):
            outputs.append(up(outputs[-1], skip))
        return outputs[::-1]


def swin_unetr(name: str) -> nn.Module:
    """A Swin UNETR by the rest of its name, such as `unetr_v2_96`: its version, and its features if not 48."""
    features = name.rpartition("_")[2]
    return _SwinUNETR(second="_v2" in name, features=int(features) if features.isdigit() else USUAL)
