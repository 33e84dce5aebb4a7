"""BYOL: a network predicts from one view of an image what its own moving average makes of the other view.

Grill et al. 2020, arXiv 2006.07733; loss and heads are lightly's. The paper's two kinds of view differ in blur and
solarisation; here both are made alike, by `views`. Its changes of hue and saturation mean nothing on grey images.
"""

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
from headwater.training.augment import as_float
from headwater.training.loop import Learner
from headwater.training.methods import _branches, _crops

SMALLEST_BATCH = 2
"""Images over which the heads' BatchNorm has a spread."""


class Options(Record):
    """The paper's values (section 3.2 and 3.3)."""

    dimension: int = Field(256, ge=2)
    hidden_dimension: int = Field(4096, ge=1)
    target_momentum: float = Field(0.996, ge=0, le=1)
    """Momentum of the moving average at the start; it rises to 1 by a cosine over the steps."""
    crop: float = Field(0.08, gt=0, le=1)
    """Smallest share of the image area in a view."""


class Byol(Learner):
    """The online network with its predictor, and the target that follows it; the online encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.options, self.changes = options, changes
        with _branches.drawn():
            head = BYOLProjectionHead(encoder.width, options.hidden_dimension, options.dimension)
            # the predictor's BatchNorm takes this bias away: its gradient is rounding, of which Adam makes whole steps
            head.layers[-1].bias = None
            self.online = _branches.Branch(encoder, head)
            self.predictor = BYOLPredictionHead(options.dimension, options.hidden_dimension, options.dimension)
        self.target = self.online.follower()
        self.criterion = NegativeCosineSimilarity()

    @property
    def encoder(self) -> Encoder:
        """The online network's encoder."""
        return self.online.encoder

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """Two views."""
        size, least = self.encoder.size, self.options.crop
        return _crops.wide(as_float(images), keys, self.changes, least=least, size=size, count=2)

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """Mean over the cases of the squared distance between prediction and target, both ways (equation 2)."""
        with torch.no_grad():
            awaited = [self.target(view).float() for view in views]
        predicted = [self.predictor(self.online(view)).float() for view in views]
        with _branches.in_full(predicted[0].device):
            # of vectors of length 1 the squared distance is 2 - 2 cosines
            return 4 + 2 * (self.criterion(predicted[0], awaited[1]) + self.criterion(predicted[1], awaited[0]))

    def parameter_groups(self, training: Training) -> list[dict]:
        """Parameters of the online network and its predictor."""
        _branches.check_batch(training, least=SMALLEST_BATCH, why="byol's heads need a spread over images")
        _branches.check_one_average(training, which="byol's target")
        return super().parameter_groups(training)

    def after_step(self, *, step: int, steps: int) -> None:
        """Draw the target after the online network; its momentum rises to 1 by a cosine (section 3.2)."""
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
