"""Barlow Twins: each feature is to agree between two views of an image, and to tell nothing that another one tells.

Zbontar et al. 2021, arXiv 2103.03230; loss and head are lightly's. Features are standardised over the batch of all
ranks. The paper augments its two views differently, as BYOL does; docs/how-to/views.md has its values.
"""

from collections.abc import Sequence

import numpy as np
from lightly.loss import BarlowTwinsLoss
from lightly.models.modules import BarlowTwinsProjectionHead
from pydantic import Field
from torch import Tensor

from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.training.loop import Learner
from headwater.training.methods import _branches, _crops, _ranks
from headwater.training.methods._compared import Compared

DIMENSIONS = (2, 3)
COMPARED = True
VIEWS = (2,)
PHOTOGRAPHS = {
    "flip": 0.5,
    "resampling": "bicubic",
    "jitter": 0.8,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.2,
    "hue": 0.1,
    "grey": 0.2,
    "blur": (1.0, 0.1),
    "solarise": (0.0, 0.2),
}
"""Those of BYOL (section 2.2)."""
SMALLEST_BATCH = 2
"""A single image has no correlations."""


class Options(Record):
    """The paper's values (section 2.2), chosen for batches of thousands of images; it learns from hundreds, too."""

    dimension: int = Field(8192, ge=2)
    hidden_dimension: int = Field(8192, ge=1)
    redundancy: float = Field(0.005, ge=0)
    """Weight of the squared correlations between different dimensions (lambda in equation 1)."""
    crop: float = Field(0.08, gt=0, le=1, json_schema_extra={"means": "crop"})
    """Smallest fraction of the image area in a view; `views.crop` sets it too."""


class BarlowTwins(Compared):
    """An encoder with its projection head; the encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.options, self.changes = options, changes
        with _branches.fixed_seed():
            head = BarlowTwinsProjectionHead(encoder.width, options.hidden_dimension, options.dimension)
            # standardising cancels this bias, so its gradient is rounding error, which Adam would scale up to full
            # steps; the published code has none
            head.layers[-1].bias = None
            self.branch = _branches.Branch(encoder, head)
        self.criterion = BarlowTwinsLoss(options.redundancy)

    @property
    def encoder(self) -> Encoder:
        """The encoder that learns."""
        return self.branch.encoder

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """Two augmented views of each image."""
        return _crops.wide(self.encoder, images, keys, self.changes, least=self.options.crop, count=2)

    def features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Those of both views."""
        return [self.encoder(view) for view in views]

    def loss(self, features: Sequence[Tensor], momentum: Sequence[Tensor]) -> Tensor:
        """Squared distance of the views' cross-correlations over the batch of all ranks from identity (equation 1)."""
        first, second = (_ranks.gathered(self.branch.head(view).float()) for view in features)
        with _branches.full_precision(first.device):
            return self.criterion(first, second)

    def parameter_groups(self, training: Training) -> list[dict]:
        """All parameters."""
        _branches.check_batch(training, minimum=SMALLEST_BATCH, why="barlow_twins correlates features over a batch")
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
    return BarlowTwins(encoder, options=options, changes=views)
