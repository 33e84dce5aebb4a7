"""SimCLR: contrastive learning of two views of an image against all other images of the mini-batch.

Chen et al. 2020, arXiv 2002.05709; the head is lightly's. The loss equals lightly's NTXentLoss, but is written out here
because that one makes the CPU wait for the GPU at each step. Negatives and BatchNorm statistics come from all ranks, as
in the paper (section 2.2). Its jitter of hue and saturation, which it finds essential on photographs (section 3.2),
is set in `views`, as all augmentations are; docs/how-to/views.md has its values.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from lightly.models.modules import SimCLRProjectionHead
from lightly.utils.dist import gather, rank, world_size
from pydantic import Field
from torch import Tensor

from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.training.loop import Learner
from headwater.training.methods import _branches, _crops
from headwater.training.methods._compared import Compared

DIMENSIONS = (2, 3)
COMPARED = True
VIEWS = (2,)
PHOTOGRAPHS = {
    "flip": 0.5,
    "resampling": "bicubic",
    "jitter": 0.8,
    "brightness": 0.8,
    "contrast": 0.8,
    "saturation": 0.8,
    "hue": 0.2,
    "grey": 0.2,
    "blur": 0.5,
}
"""Appendix A, with a strength of 1."""
SMALLEST_BATCH = 2
"""A single image has no negatives."""


class Options(Record):
    """The paper's values (sections 2.1 and 4.2, appendix A), chosen for batches of thousands of images."""

    dimension: int = Field(128, ge=2)
    hidden_dimension: int = Field(2048, ge=1)
    temperature: float = Field(0.1, gt=0)
    """Divisor of the cosine similarities (section 5.1, table 5); 0.5 suits batches of hundreds."""
    crop: float = Field(0.08, gt=0, le=1, json_schema_extra={"means": "crop"})
    """Smallest fraction of the image area in a view; `views.crop` sets it too (appendix A)."""


class Simclr(Compared):
    """An encoder with its projection head; the encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.options, self.changes = options, changes
        with _branches.fixed_seed():
            head = SimCLRProjectionHead(encoder.width, options.hidden_dimension, options.dimension)
            self.branch = _branches.Branch(encoder, head)

    @property
    def encoder(self) -> Encoder:
        """The encoder that learns."""
        return self.branch.encoder

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """Two augmented views of each image."""
        return _crops.wide(self.encoder, images, keys, self.changes, least=self.options.crop, count=2)

    def features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Those of both views."""
        # one forward pass for both views, as in the paper, so that BatchNorm's statistics are over both
        return self.encoder(torch.cat(views)).chunk(2)

    def loss(self, features: Sequence[Tensor], momentum: Sequence[Tensor]) -> Tensor:
        """NT-Xent: mean cross-entropy of picking each view's partner among the views of all ranks (equation 1)."""
        first, second = self.branch.head(torch.cat(features)).float().chunk(2)
        with _branches.full_precision(first.device):
            return nt_xent(first, second, temperature=self.options.temperature)

    def parameter_groups(self, training: Training) -> list[dict]:
        """All parameters."""
        _branches.check_batch(training, minimum=SMALLEST_BATCH, why="simclr compares the images of a batch")
        return super().parameter_groups(training)


def nt_xent(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """The loss of two views' projections (batch, dimension) of this rank's images, in which those of all ranks are."""
    both = [F.normalize(view, dim=1) for view in (first, second)]
    everyone = [torch.cat(gather(view)) if world_size() > 1 else view for view in both]
    own = torch.arange(len(first), device=first.device) + rank() * len(first)
    # in the order of lightly's, because gradients are added up in its reverse
    alike, across, back, alike_too = (
        torch.einsum("nc,mc->nm", view, others) / temperature for view in both for others in everyone
    )
    # by their places, because the number of places in a mask would have to be read from the GPU
    places = torch.arange(alike.shape[1] - 1, device=own.device)
    places = places + (places >= own[:, None])
    alike, alike_too = alike.gather(1, places), alike_too.gather(1, places)
    rows = torch.cat([torch.cat([across, alike], dim=1), torch.cat([back, alike_too], dim=1)])
    return F.cross_entropy(rows, own.repeat(2))


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
