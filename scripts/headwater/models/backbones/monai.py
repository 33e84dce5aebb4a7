"""Networks for volumes from the MONAI library, without the last layer, which segments organs."""

from collections.abc import Sequence

from monai.networks.nets import SegResNet, SwinUNETR
from torch import Tensor, nn

from headwater.models.backbones import _volumes

DIMENSIONS = 3
COLOURS = 1
INITIALISATIONS = {
    "segresnet": "uniform (fan in), PyTorch's default",
    "swin_unetr": "uniform (fan in), PyTorch's default",
}
MODELS = (
    "segresnet",
    "swin_unetr",
    "swin_unetr_12",
    "swin_unetr_v2",
    "swin_unetr_v2_12",
    "swin_unetr_v2_96",
    "swin_unetr_v2_192",
)
DECODER = {
    "segresnet": ("up_samples.", "up_layers.", "conv_final."),
    "swin_unetr": ("encoder", "decoder"),
}


class _SegResNet(SegResNet):
    """SegResNet (Myronenko 2018, arXiv 1810.11654), 4.70 million parameters; features of its deepest level."""

    pyramid = ((16, 1), (32, 2), (64, 4), (128, 8))
    outline_width = 16

    def __init__(self) -> None:
        super().__init__(init_filters=16, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1))
        self.conv_final[2] = nn.Identity()

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, 128) of (batch, 1, x, y, z)."""
        return _volumes.pooled(self.levels(volumes)[-1])

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """The outputs of the encoder's four levels, the finest first; each but the first halves the sides."""
        return self.encode(volumes)[1]

    def outlined(self, levels: Sequence[Tensor]) -> Tensor:
        """The decoder's output, the input of its last layer: (batch, 16, x, y, z)."""
        return self.decode(levels[-1], list(reversed(levels)))


class _SwinUNETR(SwinUNETR):
    """Swin UNETR (Hatamizadeh 2022, arXiv 2201.01266), 62.19 million parameters; features of its transformer.

    In its second version, of 72.76 million (He 2023, MICCAI, section 2), convolutions precede each stage.
    """

    def __init__(self, *, second: bool, features: int = 48) -> None:
        super().__init__(in_channels=1, out_channels=1, feature_size=features, use_v2=second)
        self.out = nn.Identity()
        self.pyramid = ((1, 1), *((features * 2**level, 2 ** (level + 1)) for level in range(5)))
        self.outline_width = features

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, 16 * features) of (batch, 1, x, y, z)."""
        return _volumes.pooled(self.swinViT(volumes, self.normalize)[-1])

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """The volume itself, which its decoder sees as well, and the five outputs of the transformer."""
        return [volumes, *self.swinViT(volumes, self.normalize)]

    def outlined(self, levels: Sequence[Tensor]) -> Tensor:
        """The decoder's output, the input of its last layer: (batch, features, x, y, z)."""
        volumes, *hidden, beside, deepest = levels
        x = self.decoder5(self.encoder10(deepest), beside)
        skips = (self.encoder1(volumes), self.encoder2(hidden[0]), self.encoder3(hidden[1]), self.encoder4(hidden[2]))
        ups = (self.decoder4, self.decoder3, self.decoder2, self.decoder1)
        for up, skip in zip(ups, reversed(skips), strict=True):
            x = up(x, skip)
        return x


def create(model: str, *, size: int | tuple[int, int, int]) -> tuple[nn.Module, int]:
    """A network with random weights that returns pooled features, and the number that sides must be a multiple of.

    The number at the end of a Swin UNETR's name is that of its features at half resolution, by default 48.
    """
    multiple = 8 if model == "segresnet" else 32
    _volumes.check(f"monai/{model}", size=size, multiple=multiple)
    if model == "segresnet":
        return _SegResNet(), multiple
    features = model.rpartition("_")[2]
    return _SwinUNETR(second="_v2" in model, features=int(features) if features.isdigit() else 48), multiple
