"""VICReg: two views of an image are to look alike, while features keep their variance over a batch and do not repeat.

Bardes et al. 2022, arXiv 2105.04906; the head and most of the loss are lightly's. Variances and covariances are those
of the batch over all ranks. `views` sets all augmentations; the paper's are in docs/how-to/views.md.
"""

from collections.abc import Sequence

import numpy as np
from lightly.loss import vicreg_loss
from lightly.models.modules.heads import VICRegProjectionHead
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
    "blur": 0.5,
    "solarise": 0.1,
}
"""Appendix C.1: those of BYOL, but the same for both views."""
SMALLEST_BATCH = 2
"""A single image has no variance."""


class Options(Record):
    """The paper's values (section 4.2), chosen for batches of thousands of images."""

    dimension: int = Field(8192, ge=2)
    hidden_dimension: int = Field(8192, ge=1)
    invariance: float = Field(25.0, ge=0)
    """Weight of the distance between the two views of an image (equation 5)."""
    variance: float = Field(25.0, ge=0)
    """Weight of what standard deviations over the batch lack to 1 (equation 1)."""
    covariance: float = Field(1.0, ge=0)
    """Weight of the squared covariances between dimensions (equation 4)."""
    crop: float = Field(0.08, gt=0, le=1, json_schema_extra={"means": "crop"})
    """Smallest fraction of the image area in a view; `views.crop` sets it too."""


class Vicreg(Compared):
    """An encoder with its projection head, which the paper calls expander; the encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.options, self.changes = options, changes
        with _branches.fixed_seed():
            head = VICRegProjectionHead(encoder.width, options.hidden_dimension, options.dimension)
            # no term of the loss depends on this bias, so its gradient is rounding error, which Adam would scale up to
            # full steps; the published code has none
            head.layers[-1].bias = None
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
        return [self.encoder(view) for view in views]

    def loss(self, features: Sequence[Tensor], momentum: Sequence[Tensor]) -> Tensor:
        """Weighted sum of invariance, variance and covariance over the batch of all ranks (equation 6)."""
        first, second = (_ranks.gathered(self.branch.head(view).float()) for view in features)
        with _branches.full_precision(first.device):
            weights, both = self.options, (first, second)
            return (
                weights.invariance * vicreg_loss.invariance_loss(*both)
                + weights.variance * sum(map(vicreg_loss.variance_loss, both)) / 2
                + weights.covariance * sum(map(covariance_loss, both))
            )

    def parameter_groups(self, training: Training) -> list[dict]:
        """All parameters."""
        _branches.check_batch(training, minimum=SMALLEST_BATCH, why="vicreg measures how the images of a batch vary")
        return super().parameter_groups(training)


def covariance_loss(features: Tensor) -> Tensor:
    """The squared covariances between dimensions of features (batch, dimensions), by the number of these (equation 4).

    lightly's picks them by a mask, for which the CPU waits for the GPU.
    """
    centred = features - features.mean(dim=0)
    covariance = centred.T @ centred / (len(features) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / features.shape[1]


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
    return Vicreg(encoder, options=options, changes=views)
