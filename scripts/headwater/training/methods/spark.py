"""SparK: a convolutional network sees less than half of an image's squares and learns to draw the hidden ones.

Tian et al. 2023, arXiv 2301.03580: masked autoencoding for convolutional networks. What is hidden never reaches the
encoder; a light decoder gets what it made of the rest at four scales.
"""

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
from headwater.training.augment import DRAWS, as_float, augment, order
from headwater.training.ddp import sum_over_ranks
from headwater.training.loop import Learner
from headwater.training.methods import _masking

BACKBONES = ("timm/resnet", "timm/convnext")
CELL = 32
DOUBLINGS = 5
"""From the deepest features to the pixels the side doubles so many times."""


class Options(Record):
    """The paper's values (section 3 and appendix A)."""

    mask: float = Field(0.6, gt=0, lt=1)
    """Share of the squares of 32 x 32 pixels that are hidden."""
    decoder_dimension: int = Field(768, ge=32, multiple_of=32)
    """Width of the decoder at the deepest features; it halves where the side doubles."""
    normalise: bool = True
    """Whether each square is drawn in units of its own mean and spread."""


class Doubling(nn.Sequential):
    """A block of the decoder: twice the side, half the width."""

    def __init__(self, width: int):
        super().__init__(
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU6(),
            nn.Conv2d(width, width // 2, 3, padding=1, bias=False),
            nn.BatchNorm2d(width // 2),
        )


class Decoder(nn.Module):
    """Fills the hidden places of each scale with an embedding, and goes from the deepest up to the pixels."""

    def __init__(self, widths: list[int], *, width: int):
        super().__init__()
        inner = [width >> scale for scale in range(DOUBLINGS + 1)]
        self.embeddings = nn.ParameterList([0.02 * torch.randn(1, outer, 1, 1) for outer in widths])
        self.projections = nn.ModuleList(
            [nn.Conv2d(*pair, 1) for pair in zip(widths, inner[: len(widths)], strict=True)]
        )
        self.blocks = nn.ModuleList([Doubling(one) for one in inner[:-1]])
        self.draw = nn.Conv2d(inner[-1], 3, 1)

    def forward(self, scales: list[Tensor], shown: Shown) -> Tensor:
        """Images (batch, 3, h, w) drawn from features at each scale, the deepest first."""
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
    """An encoder of the squares that are seen, and a decoder of those that are hidden; the encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.encoder, self.options, self.changes = encoder, options, changes
        self.side = encoder.size // CELL
        self.seen = _masking.seen(self.side**2, mask=options.mask)
        widths = [scale.shape[1] for scale in _tried(encoder)]
        # the global random state is left alone
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.decoder = Decoder(widths[::-1], width=options.decoder_dimension)

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """The image, and the order of its squares: the first are seen, the rest hidden."""
        view = augment(as_float(images), keys, self.changes, size=self.encoder.size)
        return [view, order(keys, DRAWS, self.side**2)]

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """Mean squared error of the hidden squares (section 3.3)."""
        images, hidden = self.encoder.normalised(views[0]), views[1][:, self.seen :]
        shown = self.shown(views[1])
        drawn = self.decoder(features(self.encoder.backbone, images, shown)[::-1], shown)
        drawn = tokens.get_at_index(tokens.patchify(drawn, CELL), hidden)
        return _masking.squared_error(drawn, images, hidden=hidden, side=CELL, normalise=self.options.normalise)

    def shown(self, shuffled: Tensor) -> Shown:
        """Which squares are seen, from their order."""
        cells = torch.zeros_like(shuffled, dtype=torch.bool).scatter(1, shuffled[:, : self.seen], True)
        return Shown(cells=cells.view(-1, self.side, self.side), total=sum_over_ranks)


def _tried(encoder: Encoder) -> list[Tensor]:
    """The features of an empty image at each scale; refuses a network with layers that cannot be sparse."""
    shown = Shown(cells=torch.ones(1, 1, 1, dtype=torch.bool), total=lambda tensor: tensor)
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
