"""SwAV: an image's views are sorted into groups that are learnt on the way; each view must tell the other one's group.

Caron et al. 2020, arXiv 2006.09882; loss and projection head are lightly's. Its prototypes have a bias, which the
paper's do not: they are a plain layer here. Changes of hue and saturation, which the paper has, mean nothing on grey
images; `views` holds what remains of its changes: brightness, contrast, blur, flips.
"""

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
from headwater.training.augment import as_float
from headwater.training.loop import Learner
from headwater.training.methods import _branches, _crops, _queues, _ranks

SMALLEST_BATCH = 2
"""Images of which groups can be told apart at all."""


class Options(Record):
    """The paper's values for ResNet-50 (section 4, appendix A); lengths as shares of the training."""

    prototypes: int = Field(3000, ge=2)
    """How many groups: a few for each kind of image, and hardly more than `batch` and `queue` together."""
    dimension: int = Field(128, ge=2)
    hidden_dimension: int = Field(2048, ge=1)
    temperature: float = Field(0.1, gt=0)
    epsilon: float = Field(0.05, ge=0.02)
    """Softness of the sorting into groups (section 3.1); lower ones leave the range of float32."""
    iterations: int = Field(3, ge=1)
    """Rounds of Sinkhorn's algorithm that make the groups equally large (section 3.1)."""
    frozen_prototypes: float = Field(1 / 400, ge=0, lt=1)
    """Share of the steps during which the prototypes stay (313 steps, the first of 400 epochs)."""
    queue: int = Field(0, ge=0, json_schema_extra={"means": "queue"})
    """Answers to earlier batches that are sorted along; 3,840 for batches of 256 (section 4.1), none for 4,096."""
    queue_starts: float = Field(15 / 200, ge=0, le=1)
    """Share of the steps after which the queue takes part (15 of 200 epochs)."""
    large_views: int = Field(2, ge=2)
    """How many large views; each is sorted, and told by all others."""
    large_crop: tuple[float, float] = (0.14, 1.0)
    """Smallest and largest share of the image area in a large view."""
    small_views: int = Field(6, ge=0)
    """How many small views tell the groups of the large ones besides."""
    small_crop: tuple[float, float] = (0.05, 0.14)
    """Smallest and largest share of the image area in a small view."""
    small_size: float = Field(96 / 224, gt=0, le=1)
    """Side of a small view as a share of the large one's."""


class Swav(Learner):
    """An encoder with its head, the prototypes of the groups, and the queues; the encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views, steps: int):
        super().__init__()
        _crops.check_shares(options.large_crop, option="swav.large_crop")
        _crops.check_shares(options.small_crop, option="swav.small_crop")
        if options.queue % world_size():
            raise UserError(f"swav.queue {options.queue} is no multiple of {world_size()} ranks", remedy="make it one")
        self.options, self.changes, self.steps = options, changes, steps
        with _branches.drawn():
            head = SwaVProjectionHead(encoder.width, options.hidden_dimension, options.dimension)
            self.branch = _branches.Branch(encoder, head)
            self.prototypes = nn.Linear(options.dimension, options.prototypes, bias=False)
            queues = options.large_views if options.queue else 0
            self.queues = nn.ModuleList(_queues.Queue(options.queue, options.dimension) for _ in range(queues))
        self._normalise()
        self.criterion = SwaVLoss(
            options.temperature, options.iterations, options.epsilon, sinkhorn_gather_distributed=True
        )
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.prototypes.weight.register_hook(self._while_frozen)

    @property
    def encoder(self) -> Encoder:
        """The encoder that learns."""
        return self.branch.encoder

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """The large views, then the small ones."""
        floats, chosen, side = as_float(images), self.options, self.encoder.size
        large = {"shares": chosen.large_crop, "size": side, "count": chosen.large_views}
        small = {"shares": chosen.small_crop, "size": self.encoder.sides(chosen.small_size * side)}
        small |= {"count": chosen.small_views, "first_view": chosen.large_views}
        return [view for kind in (large, small) for view in _crops.pieces(floats, keys, self.changes, **kind)]

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """Mean cross-entropy over the cases between the group of a large view and what the other views tell of it."""
        large = self.options.large_views
        projected = self._projected(views)
        with _branches.in_full(projected.device):
            answers = F.normalize(projected.float(), dim=1)
            queued = self._queued([answer.detach() for answer in answers.chunk(len(views))[:large]])
            scores = self.prototypes(answers).chunk(len(views))
            return self.criterion(list(scores[:large]), list(scores[large:]), queued)[0]

    def parameter_groups(self, training: Training) -> list[dict]:
        """The prototypes apart: as their length is fixed, a pull to zero means nothing, and would stir frozen ones."""
        _branches.check_batch(training, least=SMALLEST_BATCH, why="swav tells images of a batch apart")
        if self.queues:
            _queues.check_queue(training, size=self.options.queue)
        groups = super().parameter_groups(training)
        for group in groups:
            group["params"] = [one for one in group["params"] if one is not self.prototypes.weight]
        # lars and lamb adapt the rate only where weights decay, unless they are told to
        return [*groups, {"params": [self.prototypes.weight], "weight_decay": 0.0, "always_adapt": True}]

    def after_step(self, *, step: int, steps: int) -> None:
        """Give prototypes that have moved the length 1 again (section 3.1)."""
        if step >= self._frozen_steps:
            self._normalise()
        self.step.fill_(step + 1)

    @property
    def _frozen_steps(self) -> float:
        return self.options.frozen_prototypes * self.steps

    @torch.no_grad()
    def _normalise(self) -> None:
        """Give each prototype the length 1."""
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def _projected(self, views: list[Tensor]) -> Tensor:
        """What the head makes of all views (views x batch, dimension): the encoder sees those of a size together."""
        large = self.options.large_views
        sizes = [views[:large], views[large:]] if views[large:] else [views]
        return self.branch.head(torch.cat([self.encoder(torch.cat(alike)) for alike in sizes]))

    @torch.no_grad()
    def _queued(self, answers: list[Tensor]) -> list[Tensor] | None:
        """Scores of this rank's share of each queue once it is in use; the queues take in the new answers."""
        if not self.queues:
            return None
        step = int(self.step)
        filled = step * len(answers[0]) * world_size() >= self.options.queue
        scores = [self.prototypes(_ranks.share(queue.answers)) for queue in self.queues]
        for queue, answer in zip(self.queues, answers, strict=True):
            queue.push(answer)
        return scores if filled and step >= self.options.queue_starts * self.steps else None

    def _while_frozen(self, gradient: Tensor) -> Tensor:
        """The prototypes' gradient, nothing while they are frozen."""
        return gradient * (self.step >= self._frozen_steps)


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
