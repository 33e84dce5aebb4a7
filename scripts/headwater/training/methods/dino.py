"""DINO: a student learns to give, for small crops of an image, the output of its moving average for large ones.

Caron et al. 2021, arXiv 2104.14294; loss and heads are lightly's.
"""

from collections.abc import Sequence

import numpy as np
import torch
from lightly.loss import DINOLoss
from pydantic import Field
from torch import Tensor

from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.tasks import Task
from headwater.study.recipe import Views
from headwater.training.loop import Learner
from headwater.training.methods import _branches
from headwater.training.methods._branches import Branch
from headwater.training.methods._distillation import SelfDistillation, head

DIMENSIONS = (2, 3)
APART = True
COMPARED = True
VIEWS = (2, "local_views")
PHOTOGRAPHS = {
    "flip": 0.5,
    "resampling": "bicubic",
    "jitter": 0.8,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.2,
    "hue": 0.1,
    "grey": 0.2,
    "blur": (1.0, 0.1, 0.5),
    "solarise": (0.0, 0.2, 0.0),
}
"""Those of BYOL, and for all small views alike, as in the published code."""
NEEDED = {"local_crop": "local_views", "local_size": "local_views", "first_teacher_temperature": "warmup"}


class Options(Record):
    """The paper's values for vision transformers (section 3 and appendix C); durations as fractions of the training."""

    output_dimension: int = Field(65_536, ge=2)
    """Output dimension of the head; 1,024 to 4,096 suffice for small corpora."""
    hidden_dimension: int = Field(2048, ge=1)
    bottleneck_dimension: int = Field(256, ge=1)
    batch_norm: bool = False
    """BatchNorm in the head (in the paper only for convolutional networks with large batches)."""
    normalise_last_layer: bool = True
    frozen_last_layer: float = Field(0.01, ge=0, le=1)
    """Fraction of the steps during which the head's last layer is frozen (1 of 100 epochs)."""
    student_temperature: float = Field(0.1, gt=0)
    teacher_temperature: float = Field(0.07, gt=0)
    first_teacher_temperature: float = Field(0.04, gt=0)
    """Teacher temperature at the first step."""
    warmup: float = Field(0.3, ge=0, le=1)
    """Fraction of the steps over which the teacher's temperature warms up."""
    centre_momentum: float = Field(0.9, ge=0, lt=1)
    teacher_momentum: float = Field(0.996, ge=0, le=1)
    """Momentum of the teacher at the first step; a cosine schedule raises it to 1. The published code advises more for
    smaller batches, such as 0.9995 for 256 images."""
    global_crop: float = Field(0.4, gt=0, le=1, json_schema_extra={"means": "crop"})
    """Smallest fraction of the image area in the two large views; `views.crop` sets it too."""
    local_views: int = Field(8, ge=0)
    """Number of small views, which only the student sees."""
    local_crop: tuple[float, float] = (0.05, 0.4)
    """Smallest and largest fraction of the image area in a small view."""
    local_size: float = Field(96 / 224, gt=0, le=1)
    """Side of a small view as a fraction of the large one's."""


class Dino(SelfDistillation):
    """Student, teacher and the centre of the teacher's outputs; the teacher's encoder is kept."""

    apart = APART

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views, steps: int):
        def branch(encoder: Encoder) -> Branch:
            return Branch(encoder, head(encoder.width, options=options, batch_norm=options.batch_norm))

        super().__init__(encoder, options=options, changes=changes, steps=steps, branch=branch)
        self.criterion = DINOLoss(
            options.output_dimension,
            student_temp=options.student_temperature,
            center_momentum=options.centre_momentum,
        )

    def momentum_features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Those of the large views by the teacher's encoder."""
        return self.teacher.encoder(torch.cat(views[:2])).chunk(2)

    def features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Those of all views by the student's encoder."""
        # views of one size are concatenated, to need one forward pass per size
        sizes = [views[:2], views[2:]] if views[2:] else [views]
        return [each for alike in sizes for each in self.student.encoder(torch.cat(alike)).chunk(len(alike))]

    def loss(self, features: Sequence[Tensor], momentum: Sequence[Tensor]) -> Tensor:
        """Mean cross-entropy between the teacher's and the student's outputs for different views of the same images."""
        large, small = features[:2], features[2:]
        with torch.no_grad():
            teacher = self.teacher.head(torch.cat(momentum)).float().chunk(2)
        student = self.student.head(torch.cat(large)).float().chunk(2)
        if small:
            student += self.student.head(torch.cat(small)).float().chunk(len(small))
        with _branches.full_precision(large[0].device):
            return self.criterion(list(teacher), list(student), teacher_temp=self._temperature())


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
    return Dino(encoder, options=options, changes=views, steps=steps)
