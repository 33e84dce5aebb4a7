"""SimMIM: a vision transformer learns to predict the pixels of hidden squares of an image by one linear layer.

Xie et al. 2022, arXiv 2111.09886. Of volumes, cubes are hidden. The encoder keeps the initial weights of its source.
"""

import math

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.tasks import Task
from headwater.study.recipe import Views
from headwater.training import views
from headwater.training.loop import Learner
from headwater.training.methods import _branches, _masking, _transformers
from headwater.training.views.draws import order

BACKBONES = ("timm/vision_transformer", "vit3d")
DIMENSIONS = (2, 3)
APART = True
PHOTOGRAPHS = {"crop": 0.67, "flip": 0.5}
"""As in the published code; colours stay, since they are to be predicted."""


class Options(Record):
    """The paper's values (sections 3.2 and 4.1)."""

    mask: float = Field(0.6, gt=0, lt=1)
    """Fraction of the squares or cubes that are hidden."""
    mask_side: int = Field(32, ge=1)
    """Side of a hidden square or cube in pixels or voxels, rounded to whole patches of the network, at least one."""


class Simmim(Learner):
    """An encoder that sees a mask token in place of each hidden patch, and a linear head; the encoder is kept."""

    apart = APART

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.encoder, self.changes = encoder, changes
        network = encoder.backbone
        self.patch, self.grid = network.patch_embed.patch_size[0], network.patch_embed.grid_size
        # in patches
        self.side = max(1, round(options.mask_side / self.patch))
        self.cells = tuple(math.ceil(edge / self.side) for edge in self.grid)
        if math.prod(self.cells) < 2:
            raise UserError(
                f"simmim hides squares or cubes of {self.side * self.patch} pixels, and an image must have several",
                remedy="prepare larger images, or lower method.mask_side",
            )
        self.hidden = min(math.ceil(math.prod(self.cells) * options.mask), math.prod(self.cells) - 1)
        with _branches.fixed_seed():
            self.mask_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, network.embed_dim), std=0.02))
            self.draw = nn.Linear(network.embed_dim, encoder.colours * self.patch**encoder.dimensions)

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """The augmented image, and which of its patches are hidden (batch, patches)."""
        view = views.one(self.encoder, images, keys, self.changes)
        shuffled = order(keys, views.of(self.encoder).DRAWS, math.prod(self.cells))
        cells = torch.zeros_like(shuffled, dtype=torch.bool).scatter(1, shuffled[:, : self.hidden], True)
        return [view, _masking.patches_of(cells.view(-1, *self.cells), side=self.side, grid=self.grid)]

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """Mean absolute error of the hidden pixels (section 3.4)."""
        images, hidden = self.encoder.normalised(views[0]), views[1]
        predicted = self.draw(self.encode(views[0], hidden))
        # losses are computed in float32, also under autocast
        errors = (predicted.float() - _masking.parts(images, side=self.patch).float()).abs().mean(dim=-1)
        # squares at an edge may be cut, so that images differ in how much is hidden: each counts alike
        return ((errors * hidden).sum(dim=1) / hidden.sum(dim=1)).mean()

    def encode(self, images: Tensor, hidden: Tensor) -> Tensor:
        """The encoder's output for all patches (batch, patches, width), the hidden ones replaced by the mask token."""
        prefix = self.encoder.backbone.num_prefix_tokens
        network = _transformers.masked(self.encoder.backbone, mask_token=self.mask_token)
        mask = _transformers.with_prefix(hidden, prefix=prefix)
        return network.encode(self.encoder.normalised(images), mask=mask)[:, prefix:]


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
    return Simmim(encoder, options=options, changes=views)
