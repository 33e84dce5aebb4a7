"""SegResNets: residual U-Nets of the MONAI library, after Myronenko 2018 (arXiv 1810.11654)."""

from collections.abc import Sequence

from monai.networks.nets import SegResNet, SegResNetDS
from torch import Tensor, nn

from headwater.models.backbones import _volumes

CT_FM = {"filters": 32, "blocks": (1, 2, 2, 4, 4)}
"""Channels of the finest level and blocks at each of the network that CT-FM pre-trains."""


SUPREM = {"filters": 16, "blocks": (1, 2, 2, 4)}
"""The same of the network that SuPreM uses, with 4.70 million parameters."""

SMALL = {"filters": 8, "blocks": (1, 1, 1)}
"""The same of a network for processors without an accelerator."""


class _SegResNet(SegResNet):
    """SegResNet; features of its deepest level."""

    def __init__(self, *, filters: int, blocks: Sequence[int]) -> None:
        super().__init__(init_filters=filters, blocks_down=tuple(blocks), blocks_up=(1,) * (len(blocks) - 1))
        self.conv_final[2] = nn.Identity()
        self.pyramid = tuple((filters * 2**depth, 2**depth) for depth in range(len(blocks)))
        self.multiple, self.outlines = 2 ** (len(blocks) - 1), self.pyramid[:-1]

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, channels of the deepest level) of (batch, 1, x, y, z)."""
        return _volumes.pooled(self.levels(volumes)[-1])

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """The outputs of the encoder's levels, the finest first; each but the first halves the sides."""
        return self.encode(volumes)[1]

    def decoded(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the decoder's levels, the finest first, which is the input of the network's last layer."""
        outputs = [levels[-1]]
        for up, blocks, beside in zip(self.up_samples, self.up_layers, levels[-2::-1], strict=True):
            outputs.append(blocks(up(outputs[-1]) + beside))
        return [self.conv_final(outputs.pop()), *outputs[:0:-1]]


class _SegResNetDS(SegResNetDS):
    """SegResNet for deep supervision, whose encoder of 77 million parameters CT-FM pre-trains; the heads are left out.

    With BatchNorm, as the library and CT-FM have it.
    """

    def __init__(self, *, filters: int, blocks: Sequence[int]) -> None:
        super().__init__(init_filters=filters, blocks_down=tuple(blocks))
        for level in self.up_layers:
            level["head"] = nn.Identity()
        self.pyramid = tuple((filters * 2**depth, 2**depth) for depth in range(len(blocks)))
        self.multiple, self.outlines = 2 ** (len(blocks) - 1), self.pyramid[:-1]

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, channels of the deepest level) of (batch, 1, x, y, z)."""
        return _volumes.pooled(self.levels(volumes)[-1])

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """The outputs of the encoder's levels, the finest first; each but the first halves the sides."""
        return self.encoder(volumes)

    def decoded(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the decoder's levels, the finest first, which are the inputs of the network's heads."""
        outputs = [levels[-1]]
        for level, beside in zip(self.up_layers, levels[-2::-1], strict=True):
            outputs.append(level["blocks"](level["upsample"](outputs[-1]) + beside))
        return outputs[:0:-1]


def segresnet(kind: str) -> nn.Module:
    """A SegResNet by the rest of its name: SuPreM's, or CT-FM's (`ds`), and with `small` a few levels of either."""
    first, _, rest = kind.partition("_")
    of_supervision = first == "ds"
    published = CT_FM if of_supervision else SUPREM
    chosen = SMALL if "small" in (first, rest) else published
    return (_SegResNetDS if of_supervision else _SegResNet)(**chosen)
