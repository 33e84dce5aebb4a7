"""Self-distillation: a student learns from its own moving average, the teacher, what crops of an image have in common.

Caron et al. 2021, arXiv 2104.14294; heads and schedules are lightly's.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Protocol

from lightly.models.modules import DINOProjectionHead
from lightly.models.utils import update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor

from headwater.models.encoder import Encoder
from headwater.study.recipe import Training, Views
from headwater.training.methods import _branches, _crops
from headwater.training.methods._branches import Branch
from headwater.training.methods._compared import Compared


class Distilling(Protocol):
    """The options that such methods share; durations are fractions of the training."""

    output_dimension: int
    hidden_dimension: int
    bottleneck_dimension: int
    normalise_last_layer: bool
    frozen_last_layer: float
    teacher_temperature: float
    first_teacher_temperature: float
    warmup: float
    teacher_momentum: float
    global_crop: float
    local_views: int
    local_crop: tuple[float, float]
    local_size: float


class SelfDistillation(Compared):
    """Student and teacher, made by `branch` of an encoder each; the teacher's encoder is kept."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        options: Distilling,
        changes: Views,
        steps: int,
        branch: Callable[[Encoder], Branch],
    ):
        super().__init__()
        self.options, self.changes, self.steps = options, changes, steps
        with _branches.fixed_seed():
            self.student = branch(encoder)
            # weight_norm's tensors cannot be deep-copied, so the teacher's head is built anew
            self.teacher = branch(encoder.twin())
        # the teacher is a moving average, so it starts from the student's weights
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        self.step = 0

    @property
    def encoder(self) -> Encoder:
        """The teacher's encoder."""
        return self.teacher.encoder

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """Two large views, then the small ones."""
        options, given = self.options, (self.encoder, images, keys, self.changes)
        large = _crops.wide(*given, least=options.global_crop, count=2)
        small = {"side": options.local_size, "count": options.local_views, "first_view": 2}
        return large + _crops.pieces(*given, shares=options.local_crop, **small)

    def parameter_groups(self, training: Training) -> list[dict]:
        """The student's parameters."""
        _branches.check_one_average(training, which=f"{type(self).__name__.lower()}'s teacher")
        return super().parameter_groups(training)

    def before_step(self, *, step: int) -> None:
        """Note the step, and ask for no gradient of a head's last layer while it is frozen, as in the published code.

        With gradients of zero an optimiser would decay its weights, and its moments would make the first updates after
        the thaw three times as large as the learning rate.
        """
        self.step = step
        for head in self.heads():
            head.last_layer.weight_v.requires_grad_(step >= self.options.frozen_last_layer * self.steps)

    def after_step(self, *, step: int, steps: int) -> None:
        """Update the teacher as a moving average of the student, whose momentum rises to 1 by a cosine."""
        momentum = cosine_schedule(step, steps, self.options.teacher_momentum, 1.0)
        update_momentum(self.student, self.teacher, momentum)

    def heads(self) -> Iterable[DINOProjectionHead]:
        """The student's heads."""
        return [module for module in self.student.modules() if isinstance(module, DINOProjectionHead)]

    def _temperature(self) -> float:
        """The teacher's temperature at this step: a linear warm-up, then constant."""
        first, last = self.options.first_teacher_temperature, self.options.teacher_temperature
        warmup_steps = self.options.warmup * self.steps
        return last if warmup_steps == 0 else first + (last - first) * min(1.0, self.step / warmup_steps)


def head(width: int, *, options: Distilling, batch_norm: bool = False) -> DINOProjectionHead:
    """A head from features of this width to logits (batch, output_dimension)."""
    with warnings.catch_warnings():
        # lightly's head uses a weight_norm that torch has deprecated
        warnings.simplefilter("ignore", FutureWarning)
        return DINOProjectionHead(
            width,
            options.hidden_dimension,
            options.bottleneck_dimension,
            options.output_dimension,
            batch_norm=batch_norm,
            norm_last_layer=options.normalise_last_layer,
        )
