"""MoCo v2: contrastive learning of an image's two views against thousands of earlier images in a momentum queue.

He et al. 2020, arXiv 1911.05722 (v1), and Chen et al. 2020, arXiv 2003.04297 (v2); the head is lightly's. The loss
equals lightly's NTXentLoss with a memory bank, but is written out here because that bank is not saved in checkpoints.
`views` sets all augmentations; the papers' are in docs/how-to/views.md.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import update_momentum
from lightly.utils.dist import world_size
from pydantic import Field
from torch import Tensor

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.placing import sent
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.training.checkpoint import print_once
from headwater.training.loop import Learner
from headwater.training.methods import _branches, _crops, _group_norm, _queues, _ranks
from headwater.training.methods._compared import Compared

DIMENSIONS = (2, 3)
COMPARED = True
VIEWS = (2,)
PHOTOGRAPHS = {
    "flip": 0.5,
    "jitter": 0.8,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
    "grey": 0.2,
    "blur": 0.5,
}
"""Those of version 2 (arXiv 2003.04297) as in its published code."""
SMALLEST_BATCH = 2
"""A single image cannot be shuffled."""


class Options(Record):
    """The values of v2 (section 3), and of v1 (sections 3 and 4) where v2 does not change them."""

    dimension: int = Field(128, ge=2)
    hidden_dimension: int = Field(2048, ge=1)
    temperature: float = Field(0.2, gt=0)
    """Divisor of the cosine similarities; 0.2 in v2, 0.07 in v1."""
    queue: int = Field(65_536, ge=2, json_schema_extra={"means": "queue"})
    """Number of keys of earlier images (negatives). Should not exceed the corpus, or an image meets its own keys."""
    momentum: float = Field(0.999, ge=0, le=1)
    """Momentum of the key network (v1, section 4.1)."""
    group: int = Field(32, ge=2, json_schema_extra={"means": "group"})
    """Images that share BatchNorm statistics (v1: 32 on each of 8 GPUs); images per rank must be a multiple of it."""
    crop: float = Field(0.2, gt=0, le=1, json_schema_extra={"means": "crop"})
    """Smallest fraction of the image area in a view; `views.crop` sets it too."""


class Moco(Compared):
    """The query network, the key network (its moving average), and the queue of keys; the query encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.options, self.changes = options, changes
        self.shuffled = _group_norm.in_groups(encoder, group=options.group)
        with _branches.fixed_seed():
            head = MoCoProjectionHead(encoder.width, options.hidden_dimension, options.dimension)
            self.query = _branches.Branch(encoder, head)
            self.queue = _queues.Queue(options.queue, options.dimension)
        self.key = self.query.momentum_copy()
        self.step = 0

    @property
    def encoder(self) -> Encoder:
        """The query network's encoder."""
        return self.query.encoder

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """Two augmented views of each image: for the query and for the key network."""
        return _crops.wide(self.encoder, images, keys, self.changes, least=self.options.crop, count=2)

    def momentum_features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Keys of the second view (batch, dimension), of length 1."""
        return [self._keys(views[1])]

    def features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Queries of the first view (batch, dimension)."""
        return [self.query(views[0])]

    def loss(self, features: Sequence[Tensor], momentum: Sequence[Tensor]) -> Tensor:
        """InfoNCE: mean cross-entropy of picking the image's own key among it and the queue (v1, equation 1)."""
        (queries,), (keys,) = features, momentum
        with _branches.full_precision(queries.device):
            queries = F.normalize(queries.float(), dim=1)
            own = (queries * keys).sum(dim=1, keepdim=True)
            logits = torch.cat([own, queries @ self.queue.answers.T], dim=1) / self.options.temperature
            # after the logits, so that the image's own key is not also among the negatives
            self.queue.push(keys)
            # the own key is the first column, so the right class is 0
            return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))

    def parameter_groups(self, training: Training) -> list[dict]:
        """The query network's parameters."""
        _branches.check_batch(training, minimum=SMALLEST_BATCH, why="moco shuffles the images of a batch")
        _branches.check_one_average(training, which="moco's key network")
        _queues.check_queue(training, size=self.options.queue)
        if self.shuffled and training.batch % (self.options.group * world_size()):
            raise UserError(
                f"batch must be a multiple of moco.group x ranks = {self.options.group} x {world_size()}"
                f" (got {training.batch})",
                remedy="change batch, moco.group or compute.ranks",
            )
        if self.shuffled and training.batch == self.options.group:
            print_once("moco: the batch is one group, so a key shares BatchNorm with its query; make batch larger")
        return super().parameter_groups(training)

    def before_step(self, *, step: int) -> None:
        """Note the step."""
        self.step = step

    def after_step(self, *, step: int, steps: int) -> None:
        """Update the key network as a moving average of the query network (v1, equation 2)."""
        update_momentum(self.query, self.key, self.options.momentum)

    @torch.no_grad()
    def _keys(self, images: Tensor) -> Tensor:
        """Keys (batch, dimension) of length 1, each computed in another BatchNorm group than its query."""
        # nothing to shuffle in a network without BatchNorm
        if not self.shuffled:
            return F.normalize(self.key(images).float(), dim=1)
        images = _ranks.whole(images)
        # seeded by the step, so that a resumed training shuffles alike, and so do all ranks
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.step))
        order = sent(order, images.device)
        keys = _ranks.whole(self.key(images[_ranks.share(order)]).float())
        # argsort inverts the shuffle
        return F.normalize(_ranks.share(keys[order.argsort()]), dim=1)


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
    return Moco(encoder, options=options, changes=views)
