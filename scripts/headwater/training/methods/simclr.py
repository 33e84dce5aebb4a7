"""SimCLR: two views of one image shall look alike to the network, and unlike all other images of the batch.

Chen et al. 2020, arXiv 2002.05709; loss and head are lightly's. The other images are those of all ranks, and BatchNorm
is computed over them, as in the paper (section 2.2). Its changes of hue and saturation, which it finds essential on
photographs, mean nothing on grey images; of its changes of colour, brightness and contrast remain for `views` to say.
"""

import numpy as np
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from pydantic import Field
from torch import Tensor

from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.training.augment import as_float
from headwater.training.loop import Learner
from headwater.training.methods import _branches, _crops

SMALLEST_BATCH = 2
"""Images with which there is another one to be unlike."""


class Options(Record):
    """The paper's values (sections 2.1 and 4.2, appendix A); it compares thousands of images in a batch."""

    dimension: int = Field(128, ge=2)
    hidden_dimension: int = Field(2048, ge=1)
    temperature: float = Field(0.1, gt=0)
    """What divides cosines (section 5.1, table 5); batches of hundreds do with 0.5."""
    crop: float = Field(0.08, gt=0, le=1)
    """Smallest share of the image area in a view (appendix A)."""


class Simclr(Learner):
    """An encoder with its projection head; the encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.options, self.changes = options, changes
        with _branches.drawn():
            head = SimCLRProjectionHead(encoder.width, options.hidden_dimension, options.dimension)
            self.branch = _branches.Branch(encoder, head)
        self.criterion = NTXentLoss(options.temperature, gather_distributed=True)

    @property
    def encoder(self) -> Encoder:
        """The encoder that learns."""
        return self.branch.encoder

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """Two views."""
        size, least = self.encoder.size, self.options.crop
        return _crops.wide(as_float(images), keys, self.changes, least=least, size=size, count=2)

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """Mean cross-entropy of finding each view's partner among the views of all ranks (equation 1)."""
        # both in one pass, as in the paper: BatchNorm sees them together
        one, other = self.branch(torch.cat(views)).float().chunk(2)
        with _branches.in_full(one.device):
            return self.criterion(one, other)

    def parameter_groups(self, training: Training) -> list[dict]:
        """What learns: all."""
        _branches.check_batch(training, least=SMALLEST_BATCH, why="simclr compares the images of a batch")
        return super().parameter_groups(training)


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
    return Simclr(encoder, options=options, changes=views)
