"""SwAV: views are assigned to learned prototypes (clusters); from each view the assignment of the others is predicted.

Caron et al. 2020, arXiv 2006.09882; loss and projection head are lightly's. Prototypes are a plain linear layer,
because lightly's have a bias and the paper's do not. `views` sets all augmentations; the paper's are in
docs/how-to/views.md.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVProjectionHead
from lightly.utils.dist import world_size
from pydantic import Field
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.training.loop import Learner
from headwater.training.methods import _branches, _crops, _queues, _ranks
from headwater.training.methods._compared import Compared

DIMENSIONS = (2, 3)
COMPARED = True
VIEWS = ("large_views", "small_views")
PHOTOGRAPHS = {
    "flip": 0.5,
    "jitter": 0.8,
    "brightness": 0.8,
    "contrast": 0.8,
    "saturation": 0.8,
    "hue": 0.2,
    "grey": 0.2,
    "blur": 0.5,
}
"""Those of SimCLR, as in the published code."""
SMALLEST_BATCH = 2
"""A single image cannot be assigned to clusters of equal size."""


NEEDED = {"queue_starts": "queue", "small_crop": "small_views", "small_size": "small_views"}


class Options(Record):
    """The paper's values for ResNet-50 (section 4, appendix A); durations as fractions of the training."""

    prototypes: int = Field(3000, ge=2)
    """Number of clusters: a few for each kind of image, and hardly more than `batch` and `queue` together."""
    dimension: int = Field(128, ge=2)
    hidden_dimension: int = Field(2048, ge=1)
    temperature: float = Field(0.1, gt=0)
    epsilon: float = Field(0.05, ge=0.02)
    """Smoothness of the assignments (section 3.1); smaller values overflow float32."""
    iterations: int = Field(3, ge=1)
    """Iterations of Sinkhorn's algorithm, which makes the clusters equally large (section 3.1)."""
    frozen_prototypes: float = Field(1 / 400, ge=0, lt=1)
    """Fraction of the steps during which the prototypes are frozen (313 steps, the first of 400 epochs)."""
    queue: int = Field(0, ge=0, json_schema_extra={"means": "queue"})
    """Number of earlier projections assigned with each batch: 3,840 for batches of 256 (section 4.1), 0 for 4,096."""
    queue_starts: float = Field(15 / 200, ge=0, le=1)
    """Fraction of the steps after which the queue is used (15 of 200 epochs)."""
    large_views: int = Field(2, ge=2)
    """Number of large views; the assignment of each is predicted from all other views."""
    large_crop: tuple[float, float] = Field((0.14, 1.0), json_schema_extra={"means": "crop"})
    """Smallest and largest share of the image area in a large view; `views.crop` sets the smallest too."""
    small_views: int = Field(6, ge=0)
    """Number of small views, which only predict the assignments of the large ones."""
    small_crop: tuple[float, float] = (0.05, 0.14)
    """Smallest and largest fraction of the image area in a small view."""
    small_size: float = Field(96 / 224, gt=0, le=1)
    """Side of a small view as a fraction of the large one's."""


class Swav(Compared):
    """An encoder with its head, the prototypes and the queues; the encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views, steps: int):
        super().__init__()
        smallest, largest = options.large_crop
        self.large_crop = (changes.crop or smallest, largest)
        _crops.check_shares(self.large_crop, option="swav.large_crop")
        _crops.check_shares(options.small_crop, option="swav.small_crop")
        if options.queue % world_size():
            raise UserError(
                f"swav.queue must be a multiple of the {world_size()} ranks (got {options.queue})",
                remedy="change swav.queue or compute.ranks",
            )
        self.options, self.changes, self.steps = options, changes, steps
        with _branches.fixed_seed():
            head = SwaVProjectionHead(encoder.width, options.hidden_dimension, options.dimension)
            self.branch = _branches.Branch(encoder, head)
            self.prototypes = nn.Linear(options.dimension, options.prototypes, bias=False)
            queues = options.large_views if options.queue else 0
            self.queues = nn.ModuleList(_queues.Queue(options.queue, options.dimension) for _ in range(queues))
        self._normalise()
        self.criterion = SwaVLoss(
            options.temperature, options.iterations, options.epsilon, sinkhorn_gather_distributed=True
        )
        self.step = 0

    @property
    def encoder(self) -> Encoder:
        """The encoder that learns."""
        return self.branch.encoder

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """The large views, then the small ones."""
        options, given = self.options, (self.encoder, images, keys, self.changes)
        large = {"shares": self.large_crop, "count": options.large_views}
        small = {"shares": options.small_crop, "side": options.small_size}
        small |= {"count": options.small_views, "first_view": options.large_views}
        return [view for kind in (large, small) for view in _crops.pieces(*given, **kind)]

    def features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Those of all views."""
        large = self.options.large_views
        # one forward pass of the encoder per image size
        sizes = [views[:large], views[large:]] if views[large:] else [views]
        return [each for alike in sizes for each in self.encoder(torch.cat(alike)).chunk(len(alike))]

    def loss(self, features: Sequence[Tensor], momentum: Sequence[Tensor]) -> Tensor:
        """Swapped prediction: mean cross-entropy between a large view's assignment and its prediction by the others."""
        large = self.options.large_views
        projected = self.branch.head(torch.cat(features))
        with _branches.full_precision(projected.device):
            unit = F.normalize(projected.float(), dim=1)
            queued = self._queued([view.detach() for view in unit.chunk(len(features))[:large]])
            scores = self.prototypes(unit).chunk(len(features))
            return self.criterion(list(scores[:large]), list(scores[large:]), queued)[0]

    def parameter_groups(self, training: Training) -> list[dict]:
        """All parameters, with the prototypes in a group without weight decay.

        Their length is fixed, so weight decay would have no effect but to move prototypes while they are frozen.
        """
        _branches.check_batch(training, minimum=SMALLEST_BATCH, why="swav assigns the images of a batch to clusters")
        if self.queues:
            _queues.check_queue(training, size=self.options.queue)
        groups = super().parameter_groups(training)
        for group in groups:
            # by identity: `in` and `==` would compare tensors element by element
            group["params"] = [parameter for parameter in group["params"] if parameter is not self.prototypes.weight]
        # without weight decay, LARS and LAMB adapt the learning rate only with `always_adapt`
        return [*groups, {"params": [self.prototypes.weight], "weight_decay": 0.0, "always_adapt": True}]

    def before_step(self, *, step: int) -> None:
        """Note the step, and ask for no gradient of the prototypes while they are frozen, as in the published code.

        With gradients of zero an optimiser's moments would make the first updates after the thaw three times as large
        as the learning rate.
        """
        self.step = step
        self.prototypes.weight.requires_grad_(step >= self._frozen_steps)

    def after_step(self, *, step: int, steps: int) -> None:
        """Scale the prototypes back to length 1 after an update (section 3.1)."""
        if step >= self._frozen_steps:
            self._normalise()

    @property
    def _frozen_steps(self) -> float:
        return self.options.frozen_prototypes * self.steps

    @torch.no_grad()
    def _normalise(self) -> None:
        """Scale each prototype to length 1."""
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    @torch.no_grad()
    def _queued(self, projected: list[Tensor]) -> list[Tensor] | None:
        """Scores of this rank's part of each queue, None before the queues are used; adds new projections to them."""
        if not self.queues:
            return None
        # until then a queue still holds some of its random start
        filled = self.step * len(projected[0]) * world_size() >= self.options.queue
        # before the push, so that the queue holds earlier batches only; lightly's Sinkhorn sums over all ranks, so each
        # rank contributes a part of the queue
        scores = [self.prototypes(_ranks.share(queue.answers)) for queue in self.queues]
        for queue, view in zip(self.queues, projected, strict=True):
            queue.push(view)
        return scores if filled and self.step >= self.options.queue_starts * self.steps else None


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
    return Swav(encoder, options=options, changes=views, steps=steps)
