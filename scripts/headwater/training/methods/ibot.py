"""iBOT: DINO, and a student that predicts for masked patches of a crop what its moving average says of them.

Zhou et al. 2022, arXiv 2111.07832, with what DINOv2 adds (Oquab et al. 2023, arXiv 2304.07193); losses and heads are
lightly's.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss
from lightly.models.modules.center import center_momentum
from lightly.models.utils import get_at_index
from pydantic import Field
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.training.ddp import sum_over_ranks
from headwater.training.loop import Learner
from headwater.training.methods import _boxes, _branches, _crops, _masking, _ranks, _transformers
from headwater.training.methods._branches import Branch
from headwater.training.methods._distillation import SelfDistillation, head
from headwater.training.views.draws import uniforms

BACKBONES = ("timm/vision_transformer", "vit3d")
DIMENSIONS = (2, 3)
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
"""Those of DINO, as in the published code."""
NEEDED = {"local_crop": "local_views", "local_size": "local_views", "first_teacher_temperature": "warmup"}


class Options(Record):
    """The paper's values for ViT-S/16 (section 4 and its published command); durations as fractions of the training."""

    output_dimension: int = Field(8192, ge=2)
    """Output dimension of the heads; 65,536 or more in DINOv2, 1,024 to 4,096 suffice for small corpora."""
    hidden_dimension: int = Field(2048, ge=1)
    bottleneck_dimension: int = Field(256, ge=1)
    untied_heads: bool = False
    """Whether patches have a head of their own (DINOv2, section 4) instead of the one of whole images."""
    normalise_last_layer: bool = False
    """Whether the rows of the heads' last layers have length 1; true for ViT-B and larger."""
    frozen_last_layer: float = Field(0.00125, ge=0, le=1)
    """Fraction of the steps during which the heads' last layers are frozen (1 of 800 epochs)."""
    student_temperature: float = Field(0.1, gt=0)
    teacher_temperature: float = Field(0.07, gt=0)
    first_teacher_temperature: float = Field(0.04, gt=0)
    """Teacher temperature at the first step."""
    warmup: float = Field(0.0375, ge=0, le=1)
    """Fraction of the steps over which the teacher's temperature warms up (30 of 800 epochs)."""
    centre_momentum: float = Field(0.9, ge=0, lt=1)
    teacher_momentum: float = Field(0.996, ge=0, le=1)
    """Momentum of the teacher at the first step; a cosine schedule raises it to 1. The published code advises more for
    smaller batches, such as 0.9995 for 256 images."""
    mask: tuple[float, float] = (0.1, 0.5)
    """Smallest and largest fraction of the patches that are masked in a masked view, in blocks."""
    masked_views: float = Field(0.5, gt=0, le=1)
    """Fraction of the large views that are masked."""
    koleo: float = Field(0.0, ge=0)
    """Weight of the KoLeo loss, which keeps the features of a batch apart; 0.1 in DINOv2 (section 4)."""
    global_crop: float = Field(0.25, gt=0, le=1, json_schema_extra={"means": "crop"})
    """Smallest fraction of the image area in the two large views; `views.crop` sets it too. 0.32 in DINOv2."""
    local_views: int = Field(10, ge=0)
    """Number of small views, which only the student sees; 8 in DINOv2."""
    local_crop: tuple[float, float] = (0.05, 0.25)
    """Smallest and largest fraction of the image area in a small view."""
    local_size: float = Field(96 / 224, gt=0, le=1)
    """Side of a small view as a fraction of the large one's."""


class _PatchLoss(IBOTPatchLoss):
    """lightly's loss of masked patches, of images that all have as many places for them, some of them padding."""

    def forward(
        self, teacher_out: Tensor, student_out: Tensor, mask: Tensor, teacher_temp: float | None = None
    ) -> Tensor:
        """The mean over images of the mean cross-entropy of their patches (images, places, dimension).

        `mask` (images, places): which are no padding. An image without any counts as 0, as in the published code.
        """
        aims = F.softmax((teacher_out - self.center.value) / (teacher_temp or self.teacher_temp), dim=-1)
        errors = -(aims * F.log_softmax(student_out / self.student_temp, dim=-1)).sum(dim=-1)
        self._move_centre(teacher_out, mask)
        return ((errors * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()

    @torch.no_grad()
    def _move_centre(self, teacher_out: Tensor, mask: Tensor) -> None:
        """Move the centre towards the mean of the patches of all ranks, which may have different numbers of them."""
        own = torch.einsum("ipd,ip->d", teacher_out, mask.to(teacher_out.dtype))
        *_, count = summed = sum_over_ranks(torch.cat([own, mask.sum()[None].to(own.dtype)]))
        moved = center_momentum(self.center.center, (summed[:-1] / count.clamp(min=1))[None], self.center.momentum)
        self.center.center = torch.where(count > 0, moved, self.center.center)


class _TwoHeads(Branch):
    """An encoder with a head for whole images and one for patches, which may be the same."""

    def __init__(self, encoder: Encoder, *, options: Options):
        super().__init__(encoder, head(encoder.width, options=options))
        if options.untied_heads:
            self.patch_head = head(encoder.backbone.embed_dim, options=options)

    def of_patches(self, tokens: Tensor) -> Tensor:
        """Logits (..., dimension) of tokens of patches (..., width)."""
        return (self.patch_head if hasattr(self, "patch_head") else self.head)(tokens)


class Ibot(SelfDistillation):
    """Student, teacher, the mask token and the centres of the teacher's outputs; the teacher's encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views, steps: int):
        def branch(encoder: Encoder) -> Branch:
            return _TwoHeads(encoder, options=options)

        _crops.check_shares(options.mask, option="mask")
        super().__init__(encoder, options=options, changes=changes, steps=steps, branch=branch)
        network = encoder.backbone
        self.prefix, self.grid = network.num_prefix_tokens, tuple(network.patch_embed.grid_size)
        if network.patch_embed.num_patches < 2:
            raise UserError("ibot needs images of more than one patch", remedy="prepare larger images")
        self.most = math.ceil(options.mask[1] * network.patch_embed.num_patches)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, network.embed_dim))
        told = {"student_temp": options.student_temperature, "center_momentum": options.centre_momentum}
        self.criterion = DINOLoss(options.output_dimension, **told)
        self.of_patches = _PatchLoss(options.output_dimension, **told)
        self.koleo = KoLeoLoss()

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """Two large views, the small ones, and which patches of the large ones are masked (2 x batch, patches)."""
        seen, masks = super().views(images, keys), []
        (least, most), draw = self.options.mask, _crops.DRAWS * len(seen)
        for view in range(2):
            share, chance = uniforms(keys, draw + 2 * _crops.DRAWS * view, 2)
            shares = (least + (most - least) * share) * (chance < self.options.masked_views)
            masks.append(_boxes.masks(keys, shares, grid=self.grid, first_draw=draw + 2 * _crops.DRAWS * view + 2))
        return [*seen, torch.cat(masks).flatten(1)]

    def momentum_features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """The teacher's, of both large views: features, tokens of masked patches, and which of these are no padding."""
        places, real = self._places(views)
        features, patches = self._seen(self.teacher, torch.cat(views[:2]), places)
        return [*features.chunk(2), *patches.chunk(2), *real.chunk(2)]

    def features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """The student's: features and tokens of the masked patches of both large views, features of the small ones."""
        *small, masked = views[2:]
        features, patches = self._seen(self.student, torch.cat(views[:2]), self._places(views)[0], masked=masked)
        of_small = self.student.encoder(torch.cat(small)).chunk(len(small)) if small else []
        return [*features.chunk(2), *patches.chunk(2), *of_small]

    def loss(self, features: Sequence[Tensor], momentum: Sequence[Tensor]) -> Tensor:
        """DINO's loss, that of the masked patches (equations 1 and 2), and KoLeo's of the student's features."""
        large, patches, real = features[:2], torch.cat(features[2:4]), torch.cat(momentum[4:])
        with torch.no_grad():
            aims_of_patches = self.teacher.of_patches(torch.cat(momentum[2:4])).float()
            aims = self.teacher.head(torch.cat(momentum[:2])).float()
        said_of_patches = self.student.of_patches(patches).float()
        student = list(self.student.head(torch.cat(large)).float().chunk(2))
        if small := features[4:]:
            student += self.student.head(torch.cat(small)).float().chunk(len(small))
        temperature = self._temperature()
        with _branches.full_precision(patches.device):
            loss = self.criterion(list(aims.chunk(2)), student, teacher_temp=temperature)
            loss = loss + self.of_patches(aims_of_patches, said_of_patches, real, teacher_temp=temperature)
            if self.options.koleo:
                views_of_all = (_ranks.gathered(view.float()) for view in large)
                loss = loss + self.options.koleo * sum(map(self.koleo, views_of_all))
        return loss

    def encode(self, encoder: Encoder, images: Tensor, masked: Tensor | None) -> Tensor:
        """The tokens of an encoder (batch, prefix + patches, width) for images of its size, some of them masked."""
        network = _transformers.masked(encoder.backbone, mask_token=self.mask_token)
        mask = None if masked is None else _transformers.with_prefix(masked, prefix=self.prefix)
        return network.encode(encoder.normalised(images), mask=mask)

    def parameter_groups(self, training: Training) -> list[dict]:
        """The student's parameters and the mask token."""
        if self.options.koleo:
            _branches.check_batch(training, minimum=2, why="koleo compares the images of a batch")
        return super().parameter_groups(training)

    def _places(self, views: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(indices of the masked patches of the large views (2 x batch, places), which of them are no padding)."""
        return _masking.places(views[-1], count=self.most)

    def _seen(
        self, branch: _TwoHeads, images: Tensor, places: Tensor, *, masked: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(features of images (batch, width), tokens of their patches at these places (batch, places, width))."""
        tokens = self.encode(branch.encoder, images, masked)
        return branch.encoder.backbone.forward_head(tokens), get_at_index(tokens, places + self.prefix)


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
    return Ibot(encoder, options=options, changes=views, steps=steps)
