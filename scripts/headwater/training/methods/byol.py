"""BYOL: from one view of an image, a network predicts the projection of the other view by its own moving average.

Grill et al. 2020, arXiv 2006.07733; loss and heads are lightly's. The paper augments its two views differently (blur,
solarisation), as `views` can with a probability for each; docs/how-to/views.md has its values.
"""

from collections.abc import Sequence

import numpy as np
import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from lightly.models.utils import update_momentum
from lightly.utils.scheduler import cosine_schedule
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
APART = True
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
"""Appendix B, table 6."""
SMALLEST_BATCH = 2
"""BatchNorm in the heads has no variance over a single image."""


class Options(Record):
    """The paper's values (sections 3.2 and 3.3)."""

    dimension: int = Field(256, ge=2)
    hidden_dimension: int = Field(4096, ge=1)
    target_momentum: float = Field(0.996, ge=0, le=1)
    """Momentum of the moving average at the first step; a cosine schedule raises it to 1."""
    crop: float = Field(0.08, gt=0, le=1, json_schema_extra={"means": "crop"})
    """Smallest fraction of the image area in a view; `views.crop` sets it too."""


class Byol(Compared):
    """The online network with its predictor, and the target network, its moving average; the online encoder is kept."""

    apart = APART

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.options, self.changes = options, changes
        with _branches.fixed_seed():
            head = BYOLProjectionHead(encoder.width, options.hidden_dimension, options.dimension)
            # the predictor's BatchNorm cancels this bias, so its gradient is rounding error, which Adam would scale up
            # to full steps
            head.layers[-1].bias = None
            self.online = _branches.Branch(encoder, head)
            self.predictor = BYOLPredictionHead(options.dimension, options.hidden_dimension, options.dimension)
        self.target = self.online.momentum_copy()
        self.criterion = NegativeCosineSimilarity()

    @property
    def encoder(self) -> Encoder:
        """The online network's encoder."""
        return self.online.encoder

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """Two augmented views of each image."""
        return _crops.wide(self.encoder, images, keys, self.changes, least=self.options.crop, count=2)

    def momentum_features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Those of both views by the target network's encoder."""
        return [self.target.encoder(view) for view in views]

    def features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Those of both views by the online network's encoder."""
        return [self.encoder(view) for view in views]

    def loss(self, features: Sequence[Tensor], momentum: Sequence[Tensor]) -> Tensor:
        """Mean squared distance between normalised predictions and projections, both ways round (equation 2)."""
        with torch.no_grad():
            projected = [self.target.head(view).float() for view in momentum]
        predicted = [self.predictor(self.online.head(view)).float() for view in features]
        with _branches.full_precision(predicted[0].device):
            # for unit vectors |p - z|² = 2 - 2 cos(p, z), and lightly's loss is the negative cosine
            return 4 + 2 * (self.criterion(predicted[0], projected[1]) + self.criterion(predicted[1], projected[0]))

    def parameter_groups(self, training: Training) -> list[dict]:
        """The parameters of the online network and its predictor."""
        _branches.check_batch(training, minimum=SMALLEST_BATCH, why="byol's heads use BatchNorm")
        _branches.check_one_average(training, which="byol's target network")
        return super().parameter_groups(training)

    def after_step(self, *, step: int, steps: int) -> None:
        """Update the target network as a moving average, whose momentum rises to 1 by a cosine (section 3.2)."""
        momentum = cosine_schedule(step, steps, self.options.target_momentum, 1.0)
        update_momentum(self.online, self.target, momentum)


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
    return Byol(encoder, options=options, changes=views)
