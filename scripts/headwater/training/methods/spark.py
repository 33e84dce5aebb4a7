"""SparK: masked autoencoding for convolutional networks, which learn to reconstruct the hidden squares of an image.

Tian et al. 2023, arXiv 2301.03580. Hidden pixels never reach the encoder (see models.sparse); a light decoder
reconstructs them from the encoder's features at four scales.
"""

import math

import numpy as np
import torch
from lightly.models import utils as tokens
from pydantic import Field
from torch import Tensor, nn

from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.sparse import Shown, features
from headwater.models.tasks import Task
from headwater.study.recipe import Views
from headwater.training import views
from headwater.training.ddp import sum_over_ranks
from headwater.training.loop import Learner
from headwater.training.methods import _branches, _masking
from headwater.training.views.draws import order

BACKBONES = ("timm/resnet", "timm/convnext")
CELL = 32
DOUBLINGS = 5
"""How many times the side doubles from the deepest features to the pixels: 2^5 = CELL."""


class Options(Record):
    """The paper's values (section 3 and appendix A)."""

    mask: float = Field(0.6, gt=0, lt=1)
    """Fraction of the squares of 32 x 32 pixels that are hidden."""
    decoder_dimension: int = Field(768, ge=32, multiple_of=32)
    """Width of the decoder at the deepest features; it halves each time the side doubles."""
    normalise: bool = True
    """Whether the target is each square standardised by its own mean and standard deviation."""


class Doubling(nn.Sequential):
    """A block of the decoder that doubles the side and halves the width."""

    def __init__(self, width: int):
        super().__init__(
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1),
            # no biases before BatchNorm, which has its own
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU6(),
            nn.Conv2d(width, width // 2, 3, padding=1, bias=False),
            nn.BatchNorm2d(width // 2),
        )


class Decoder(nn.Module):
    """Fills hidden positions at each scale with a learned embedding, and upsamples from the deepest to the pixels."""

    def __init__(self, widths: list[int], *, width: int):
        super().__init__()
        inner = [width >> scale for scale in range(DOUBLINGS + 1)]
        self.embeddings = nn.ParameterList([0.02 * torch.randn(1, outer, 1, 1) for outer in widths])
        self.projections = nn.ModuleList(
            [nn.Conv2d(*pair, 1) for pair in zip(widths, inner[: len(widths)], strict=True)]
        )
        self.blocks = nn.ModuleList([Doubling(channels) for channels in inner[:-1]])
        self.draw = nn.Conv2d(inner[-1], 3, 1)

    def forward(self, scales: list[Tensor], shown: Shown) -> Tensor:
        """Reconstructed images (batch, 3, h, w) from features at each scale, the deepest first."""
        x = None
        for number, block in enumerate(self.blocks):
            if number < len(scales):
                embedding = self.embeddings[number].to(scales[number].dtype)
                dense = torch.where(shown.at(scales[number]), scales[number], embedding)
                projected = self.projections[number](dense)
                x = projected if x is None else x + projected
            x = block(x)
        return self.draw(x)


class Spark(Learner):
    """An encoder of the visible squares and a decoder that reconstructs the hidden ones; the encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.encoder, self.options, self.changes = encoder, options, changes
        self.grid = tuple(side // CELL for side in encoder.frame)
        self.squares = math.prod(self.grid)
        self.seen = _masking.visible_count(self.squares, mask=options.mask)
        widths = [scale.shape[1] for scale in _test_features(encoder)]
        with _branches.fixed_seed():
            self.decoder = Decoder(widths[::-1], width=options.decoder_dimension)

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """The augmented image, and a random order of its squares: the first are visible, the rest hidden."""
        kind = views.of(self.encoder)
        view = kind.augment(kind.as_float(images), keys, self.changes, size=self.encoder.size)
        return [view, order(keys, kind.DRAWS, self.squares)]

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """Mean squared error of the hidden squares (section 3.3)."""
        images, hidden = self.encoder.normalised(views[0]), views[1][:, self.seen :]
        shown = self.shown(views[1])
        reconstructed = self.decoder(features(self.encoder.backbone, images, shown)[::-1], shown)
        predicted = tokens.get_at_index(_masking.parts(reconstructed, side=CELL), hidden)
        return _masking.squared_error(predicted, images, hidden=hidden, side=CELL, normalise=self.options.normalise)

    def shown(self, shuffled: Tensor) -> Shown:
        """The mask of visible squares, from their order."""
        # summed over ranks, because BatchNorm's statistics are over the visible positions of the whole batch
        cells = torch.zeros_like(shuffled, dtype=torch.bool).scatter(1, shuffled[:, : self.seen], True)
        return Shown(cells=cells.view(-1, *self.grid), total=sum_over_ranks)


def _test_features(encoder: Encoder) -> list[Tensor]:
    """The features of an empty image at each scale; refuses a network with layers that cannot be masked."""
    shown = Shown(cells=torch.ones(1, 1, 1, dtype=torch.bool), total=lambda tensor: tensor)
    # in evaluation, so that BatchNorm's running statistics do not see the empty image
    encoder.eval()
    with torch.no_grad():
        scales = features(encoder.backbone, torch.zeros(1, 3, CELL, CELL), shown)
    encoder.train()
    return scales


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
