"""Networks for volumes from the MONAI library, without the last layer, which segments organs."""

from monai.networks.nets import SegResNet, SwinUNETR
from torch import Tensor, nn

from headwater.models.backbones import _volumes

DIMENSIONS = 3
COLOURS = 1
INITIALISATIONS = {
    "segresnet": "uniform (fan in), PyTorch's default",
    "swin_unetr": "uniform (fan in), PyTorch's default",
}
MODELS = ("segresnet", "swin_unetr")


class _SegResNet(SegResNet):
    """SegResNet (Myronenko 2018, arXiv 1810.11654), 4.70 million parameters; features of its deepest level."""

    def __init__(self) -> None:
        super().__init__(init_filters=16, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1))
        self.conv_final[2] = nn.Identity()

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, 128) of (batch, 1, depth, height, width)."""
        deepest, _ = self.encode(volumes)
        return _volumes.pooled(deepest)


class _SwinUNETR(SwinUNETR):
    """Swin UNETR (Hatamizadeh 2022, arXiv 2201.01266), 62.19 million parameters; features of its transformer."""

    def __init__(self) -> None:
        super().__init__(in_channels=1, out_channels=1, feature_size=48)
        self.out = nn.Identity()

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, 768) of (batch, 1, depth, height, width)."""
        return _volumes.pooled(self.swinViT(volumes, self.normalize)[-1])


def create(model: str, *, size: int) -> tuple[nn.Module, int]:
    """A network with random weights that returns pooled features, and the number that sides must be a multiple of."""
    kind, multiple = {"segresnet": (_SegResNet, 8), "swin_unetr": (_SwinUNETR, 32)}[model]
    _volumes.check(f"monai/{model}", size=size, multiple=multiple)
    return kind(), multiple
