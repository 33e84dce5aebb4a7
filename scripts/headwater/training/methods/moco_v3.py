"""MoCo v3: contrastive learning of an image's two views against the other images of a large batch, without a queue.

Chen et al. 2021, arXiv 2104.02057; the heads are lightly's. The paper augments its two views differently, as BYOL does;
docs/how-to/views.md has its values.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import update_momentum
from lightly.utils.scheduler import cosine_schedule
from pydantic import Field
from torch import Tensor, nn

from headwater.core.records import Record
from headwater.models import backbones
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
    "jitter": 0.8,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.2,
    "hue": 0.1,
    "grey": 0.2,
    "blur": (1.0, 0.1),
    "solarise": (0.0, 0.2),
}
"""Those of BYOL, as in the published code."""
SMALLEST_BATCH = 2
"""A single image has no negatives."""
ONLY_ON = {"frozen_patches": ("timm/vision_transformer", "vit3d")}


class Options(Record):
    """The paper's values for vision transformers (sections 3 and 5), chosen for batches of thousands of images."""

    dimension: int = Field(256, ge=2)
    hidden_dimension: int = Field(4096, ge=1)
    temperature: float = Field(0.2, gt=0)
    """Divisor of the cosine similarities; 1 for ResNets in the published code."""
    momentum: float = Field(0.99, ge=0, le=1)
    """Momentum of the key network at the first step; a cosine schedule raises it to 1."""
    frozen_patches: bool = True
    """Whether the patch projection of a vision transformer keeps its first weights, for stability (section 4)."""
    crop: float = Field(0.08, gt=0, le=1, json_schema_extra={"means": "crop"})
    """Smallest fraction of the image area in a view (0.2 for ResNets); `views.crop` sets it too."""


class MocoV3(Compared):
    """The query network with its predictor, and the key network, its moving average; the query encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.options, self.changes = options, changes
        if options.frozen_patches and backbones.belongs(encoder.name, ONLY_ON["frozen_patches"]):
            encoder.backbone.patch_embed.proj.requires_grad_(False)
        with _branches.fixed_seed():
            self.query = _branches.Branch(encoder, _head(encoder.width, options=options, layers=3))
            self.predictor = _head(options.dimension, options=options, layers=2)
        self.key = self.query.momentum_copy()

    @property
    def encoder(self) -> Encoder:
        """The query network's encoder."""
        return self.query.encoder

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """Two augmented views of each image."""
        return _crops.wide(self.encoder, images, keys, self.changes, least=self.options.crop, count=2)

    def momentum_features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Those of both views by the key network's encoder."""
        return [self.key.encoder(view) for view in views]

    def features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Those of both views by the query network's encoder."""
        return [self.encoder(view) for view in views]

    def loss(self, features: Sequence[Tensor], momentum: Sequence[Tensor]) -> Tensor:
        """InfoNCE both ways round: each view's own key in the other view among those of all ranks (algorithm 1)."""
        with torch.no_grad():
            keys = [_ranks.whole(self.key.head(view).float()) for view in momentum]
        queries = [self.predictor(self.query.head(view)).float() for view in features]
        with _branches.full_precision(queries[0].device):
            return self._contrasted(queries[0], keys[1]) + self._contrasted(queries[1], keys[0])

    def parameter_groups(self, training: Training) -> list[dict]:
        """The parameters of the query network and its predictor that are not frozen."""
        _branches.check_batch(training, minimum=SMALLEST_BATCH, why="moco_v3 compares the images of a batch")
        _branches.check_one_average(training, which="moco_v3's key network")
        return super().parameter_groups(training)

    def after_step(self, *, step: int, steps: int) -> None:
        """Update the key network as a moving average, whose momentum rises to 1 by a cosine (section 5)."""
        momentum = cosine_schedule(step, steps, self.options.momentum, 1.0)
        update_momentum(self.query, self.key, momentum)

    def _contrasted(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Mean cross-entropy of picking each query's own key among all keys, times twice the temperature."""
        temperature, own = self.options.temperature, _ranks.share(torch.arange(len(keys), device=keys.device))
        logits = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T / temperature
        return 2 * temperature * F.cross_entropy(logits, own)


def _head(width: int, *, options: Options, layers: int) -> MoCoProjectionHead:
    """A head with BatchNorm after each of its layers, the last without scale and offset, as in the published code."""
    head = MoCoProjectionHead(width, options.hidden_dimension, options.dimension, num_layers=layers, batch_norm=True)
    head.layers[-1] = nn.BatchNorm1d(options.dimension, affine=False)
    return head


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
    return MocoV3(encoder, options=options, changes=views)
