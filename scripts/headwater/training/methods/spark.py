"""SparK: masked autoencoding for convolutional networks, which learn to reconstruct the hidden parts of an image.

Tian et al. 2023, arXiv 2301.03580. Hidden parts never reach the encoder (see models.sparse); a light decoder
reconstructs them from the encoder's features at four scales. Of volumes, parts are cubes instead of squares, as in
Wald et al. 2024, arXiv 2410.23132.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from lightly.models import utils as tokens
from pydantic import Field
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.models import compiled
from headwater.models.encoder import Encoder
from headwater.models.orientation import turned
from headwater.models.sparse import Shown, features, through
from headwater.models.tasks import Task
from headwater.study.recipe import Views
from headwater.training import views
from headwater.training.ddp import sum_over_ranks
from headwater.training.loop import Learner
from headwater.training.methods import _branches, _masking
from headwater.training.views.draws import order

BACKBONES = (
    "timm/resnet",
    "timm/convnext",
    "monai/segresnet",
    "monai/unet",
    "monai/dynunet",
    "monai/resnet",
    "nnunet",
    "stu_net",
    "genesis",
)
DIMENSIONS = (2, 3)
APART = True
BY_BLOCKS = False
PHOTOGRAPHS = {"crop": 0.67, "flip": 0.5, "resampling": "bicubic"}
"""As in the published code."""
CELL = 32
SCALES = 4
"""The decoder sees the features of so many resolutions, the deepest, as in section 3.2."""

KINDS = {
    2: (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d),
    3: (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d),
}
"""Convolution, transposed convolution and norm of the decoder by the image's dimensions."""


class Options(Record):
    """The paper's values (section 3 and appendix A)."""

    mask: float = Field(0.6, gt=0, lt=1)
    """Fraction of the squares or cubes that are hidden; each is one position of the deepest features."""
    decoder_dimension: int = Field(768, ge=32, multiple_of=32)
    """Width of the decoder at features of 1/32 of the side; it halves each time the side doubles."""
    normalise: bool = True
    """Whether the target is each square or cube standardised by its own mean and standard deviation."""


class Doubling(nn.Sequential):
    """A block of the decoder that doubles the side and halves the width."""

    def __init__(self, width: int, *, dimensions: int):
        convolution, transposed, norm = KINDS[dimensions]
        super().__init__(
            transposed(width, width, 4, stride=2, padding=1),
            # no biases before BatchNorm, which has its own
            convolution(width, width, 3, padding=1, bias=False),
            norm(width),
            nn.ReLU6(),
            convolution(width, width // 2, 3, padding=1, bias=False),
            norm(width // 2),
        )


class Decoder(nn.Module):
    """Fills hidden positions at each scale with a learned embedding, and upsamples from the deepest to the image.

    `widths` are the channels of each scale, the deepest first, `narrowest` those of the decoder at the image's
    resolution, and `norm` makes the norm of visible features, of as many channels.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        narrowest: int,
        doublings: int,
        dimensions: int,
        colours: int,
        norm: Callable[[int], nn.Module],
    ):
        super().__init__()
        convolution, *_ = KINDS[dimensions]
        inner = [narrowest << (doublings - scale) for scale in range(doublings + 1)]
        places = [1] * dimensions
        self.norms = nn.ModuleList([norm(outer) for outer in widths])
        embeddings = [torch.empty(1, outer, *places) for outer in widths]
        for embedding in embeddings:
            nn.init.trunc_normal_(embedding, std=0.02, a=-0.02, b=0.02)
        self.embeddings = nn.ParameterList(embeddings)
        self.projections = nn.ModuleList(
            [
                # as published, the deepest features are not mixed with their neighbours
                convolution(outer, own, 3 if scale else 1, padding=1 if scale else 0)
                if scale or outer != own
                else nn.Identity()
                for scale, (outer, own) in enumerate(zip(widths, inner[: len(widths)], strict=True))
            ]
        )
        self.blocks = nn.ModuleList([Doubling(channels, dimensions=dimensions) for channels in inner[:-1]])
        self.draw = convolution(inner[-1], colours, 1)
        for part in (self.blocks, self.draw):
            part.apply(_initialised)

    def forward(self, scales: list[Tensor], shown: Shown) -> Tensor:
        """Reconstructed images (batch, colours, *space) from features at each scale, the deepest first."""
        x = None
        for number, block in enumerate(self.blocks):
            if number < len(scales):
                visible = through(self.norms[number], scales[number], shown)
                dense = torch.where(shown.at(visible), visible, self.embeddings[number].to(visible.dtype))
                projected = self.projections[number](dense)
                x = projected if x is None else x + projected
            x = block(x)
        return self.draw(x)


@torch.no_grad()
def _initialised(layer: nn.Module) -> None:
    """Draw the weights of a convolution as published."""
    if isinstance(layer, (nn.ConvTranspose2d, nn.ConvTranspose3d)):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    elif isinstance(layer, (nn.Conv2d, nn.Conv3d)):
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class Spark(Learner):
    """An encoder of the visible parts and a decoder that reconstructs the hidden ones; the encoder is kept."""

    apart = APART

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.encoder, self.options, self.changes = encoder, options, changes
        self.cell = encoder.strides[-1]
        self.grid = _grid(encoder, cell=self.cell)
        self.parts = math.prod(self.grid)
        self.seen = _masking.visible_count(self.parts, mask=options.mask)
        _refuse_single_positions(encoder, seen=self.seen, parts=self.parts)
        tried = _test_features(encoder, cell=self.cell)
        self.scales = _scales(tried, cell=self.cell)
        with _branches.fixed_seed():
            self.decoder = Decoder(
                [tried[scale].shape[1] for scale in self.scales],
                narrowest=options.decoder_dimension // CELL,
                doublings=int(math.log2(self.cell)),
                dimensions=encoder.dimensions,
                colours=encoder.colours,
                norm=_norm(encoder),
            )

    def compile_passes(self) -> None:
        """Refused, as masked layers are called one by one."""
        raise UserError(
            "spark goes through the encoder layer by layer, so that torch has nothing to compile",
            remedy=compiled.REMEDY,
        )

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """The augmented image, and a random order of its parts: the first are visible, the rest hidden."""
        view = views.one(self.encoder, images, keys, self.changes)
        return [view, order(keys, views.of(self.encoder).DRAWS, self.parts)]

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """Mean squared error of the hidden parts (section 3.3)."""
        images, hidden, cell = self.encoder.normalised(views[0]), views[1][:, self.seen :], self.cell
        shown = self.shown(views[1])
        encoded = features(self.encoder.backbone, images, shown)
        reconstructed = self.decoder([encoded[scale] for scale in self.scales], shown)
        predicted = tokens.get_at_index(_masking.parts(reconstructed, side=cell), hidden)
        return _masking.squared_error(predicted, images, hidden=hidden, side=cell, normalise=self.options.normalise)

    def shown(self, shuffled: Tensor) -> Shown:
        """The mask of visible parts, from their order."""
        # summed over ranks, because BatchNorm's statistics are over the visible positions of the whole batch
        cells = torch.zeros_like(shuffled, dtype=torch.bool).scatter(1, shuffled[:, : self.seen], True)
        return Shown(cells=cells.view(-1, *self.grid), total=sum_over_ranks)


def _norm(encoder: Encoder) -> Callable[[int], nn.Module]:
    """The norm of visible features: over their channels for networks that norm so (ConvNeXts), else over the batch."""
    if any(isinstance(module, LayerNorm2d) for module in encoder.backbone.modules()):
        return LayerNorm2d
    return KINDS[encoder.dimensions][2]


def _grid(encoder: Encoder, *, cell: int) -> tuple[int, ...]:
    """How many parts lie along each axis of what the backbone gets, which may have the axes of published weights."""
    space = turned(torch.empty(1, 1, *encoder.frame, device="meta"), encoder.orientation).shape[2:]
    return tuple(side // cell for side in space)


def _refuse_single_positions(encoder: Encoder, *, seen: int, parts: int) -> None:
    """Refuse instance norms of which only one position of the deepest features is visible."""
    norms = (module for module in encoder.backbone.modules() if isinstance(module, _InstanceNorm))
    if seen < 2 and any(norms):
        raise UserError(
            f"spark shows {encoder.name} one of {parts} cubes, and the instance norm of a single position is constant",
            remedy="lower method.mask, or prepare the corpus with a larger size",
        )


def _test_features(encoder: Encoder, *, cell: int) -> list[Tensor]:
    """The features of an empty image at each scale; refuses a network with layers that cannot be masked."""
    one = [1] * encoder.dimensions
    shown = Shown(cells=torch.ones(1, *one, dtype=torch.bool), total=lambda tensor: tensor)
    # in evaluation, so that BatchNorm's running statistics do not see the empty image
    encoder.eval()
    with torch.no_grad():
        scales = features(encoder.backbone, torch.zeros(1, encoder.colours, *(cell * side for side in one)), shown)
    encoder.train()
    return scales


def _scales(features: Sequence[Tensor], *, cell: int) -> list[int]:
    """Which features of a single part the decoder sees, the deepest first: the last of each of the lowest resolutions.

    Those at the image's own resolution are left out: the decoder ends there.
    """
    last = {scale.shape[-1]: number for number, scale in enumerate(features) if scale.shape[-1] < cell}
    return [last[side] for side in sorted(last)[:SCALES]]


def learner(
    encoder: Encoder,
    *,
    options: Options,
    views: Views,
    size: int,
    labels: int,
    task: Task,
    targets: np.ndarray,
    steps: int,
) -> Learner:
    """A learner that needs no labels."""
    return Spark(encoder, options=options, changes=views)
