"""I-JEPA: from a part of an image a network predicts what its moving average says of other parts, not their pixels.

Assran et al. 2023, arXiv 2301.08243. The masked transformer and the predictor's blocks are lightly's. Of volumes, parts
are cuboids. The encoder keeps the initial weights and position embeddings of its source.
"""

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from lightly.models import utils as tokens
from pydantic import Field
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.recomputed import blocks_of
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.training import views
from headwater.training.loop import Learner
from headwater.training.methods import _boxes, _branches, _crops, _masking, _transformers
from headwater.training.methods._transformers import Decoder
from headwater.training.views.draws import order, uniforms

BACKBONES = ("timm/vision_transformer", "vit3d")
DIMENSIONS = (2, 3)
APART = True
PHOTOGRAPHS = {"crop": 0.3}
"""As in the published code, which changes neither colours nor sides."""


class Options(Record):
    """The paper's values (section 4 and appendix A)."""

    targets: int = Field(4, ge=1)
    """Number of target blocks, which may overlap."""
    target_scale: tuple[float, float] = (0.15, 0.2)
    """Smallest and largest fraction of the patches in a target block."""
    target_ratio: tuple[float, float] = (0.75, 1.5)
    """Smallest and largest ratio of a target block's sides."""
    context_scale: tuple[float, float] = (0.85, 1.0)
    """Smallest and largest fraction of the patches in the context block, from which the target blocks are cut out."""
    context_limit: float = Field(0.6, gt=0, le=1)
    """Largest fraction of the patches that is left of a context; of longer ones patches are dropped at random. The
    paper has none, its code cuts all contexts to the shortest of a batch (about 0.25); a step is faster with less."""
    predictor_dimension: int = Field(384, ge=4)
    """Width of the predictor; a multiple of its number of heads and of 4."""
    predictor_depth: int = Field(12, ge=1)
    """Blocks of the predictor; 6 for ViT-B."""
    predictor_heads: int = Field(12, ge=1)
    """In the paper as many as those of the encoder."""
    target_momentum: float = Field(0.996, ge=0, le=1)
    """Momentum of the target encoder at the first step; it rises to 1 along a straight line."""
    loss: Literal["smooth_l1", "l2"] = "smooth_l1"
    """The distance of features: that of the published code, or that of the paper (section 3)."""


class Ijepa(Learner):
    """Context encoder, predictor and target encoder, a moving average of the first; the target encoder is kept."""

    apart = APART

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        _check(options, patches=encoder.backbone.patch_embed.num_patches)
        self.options, self.changes, network = options, changes, encoder.backbone
        self.prefix, self.grid = network.num_prefix_tokens, tuple(network.patch_embed.grid_size)
        patches = network.patch_embed.num_patches
        # as many places for all images, so that a GPU need not tell how many patches each has
        self.seen = min(
            math.ceil(options.context_limit * patches),
            _boxes.most(options.context_scale[1] * patches, (1.0, 1.0), grid=self.grid),
        )
        self.asked = _boxes.most(options.target_scale[1] * patches, options.target_ratio, grid=self.grid)
        self.context, self.target = encoder, encoder.twin().requires_grad_(False)
        with _branches.fixed_seed():
            self.embed = nn.Linear(network.embed_dim, options.predictor_dimension)
            self.predictor = _predictor(encoder, options=options)
            self.draw = nn.Linear(options.predictor_dimension, network.embed_dim)
            _initialise(self.embed, self.draw, self.predictor)

    @property
    def encoder(self) -> Encoder:
        """The target encoder, which the paper evaluates."""
        return self.target

    def compute_twice(self) -> None:
        """Let the backward pass compute the blocks of the encoder and of the predictor a second time."""
        super().compute_twice()
        self.predictor.grad_checkpointing = True

    def compile_passes(self) -> None:
        """Let torch compile the blocks of the encoder and of the predictor."""
        super().compile_passes()
        self.predictor.compile_passes()

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """The augmented image, its context (batch, patches) and its target blocks (batch, targets, patches)."""
        view = views.one(self.encoder, images, keys, self.changes)
        return [view, *self._parts(keys, first_draw=views.of(self.encoder).DRAWS)]

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """Mean distance between predicted features of target blocks and those of the target encoder (section 3)."""
        images, context, blocks = views
        seen = _masking.places(context, count=self.seen)
        places = _masking.places(blocks.flatten(0, 1), count=self.asked)
        with torch.no_grad():
            network = self.target.backbone
            features = network.forward_features(self.target.normalised(images))[:, self.prefix :].float()
            # each patch by its own mean and standard deviation, as in the published code
            aims = F.layer_norm(features, features.shape[-1:]).repeat_interleave(self.options.targets, dim=0)
            aims = tokens.get_at_index(aims, places[0])
        predicted = self._predicted(self.encode(images, seen), seen=seen, places=places).float()
        distance = F.smooth_l1_loss if self.options.loss == "smooth_l1" else F.mse_loss
        errors = distance(predicted, aims, reduction="none").mean(dim=-1) * places[1]
        # blocks differ in size; each image counts alike
        of_images = errors.view(len(images), -1).sum(dim=1) / places[1].view(len(images), -1).sum(dim=1).clamp(min=1)
        return of_images.mean()

    def encode(self, images: Tensor, seen: tuple[Tensor, Tensor]) -> Tensor:
        """The context encoder's output for class and register tokens and these patches (batch, prefix + seen, width).

        `seen`: the indices of patches, and which of them are no padding.
        """
        network = _transformers.masked(self.context.backbone)
        x = network.preprocess(self.context.normalised(images), idx_keep=self._with_prefix(seen[0] + self.prefix))
        attended = self._with_prefix(seen[1], alike=True)[:, None, None]
        return network.vit.norm(blocks_of(network.vit, network.vit.norm_pre(x), attn_mask=attended))

    def parameter_groups(self, training: Training) -> list[dict]:
        """The parameters of the context encoder and the predictor."""
        _branches.check_one_average(training, which="ijepa's target encoder")
        return super().parameter_groups(training)

    def after_step(self, *, step: int, steps: int) -> None:
        """Update the target encoder as a moving average, whose momentum rises to 1 along a straight line."""
        first = self.options.target_momentum
        tokens.update_momentum(self.context, self.target, first + (1 - first) * step / max(1, steps - 1))

    def _parts(self, keys: Tensor, *, first_draw: int) -> tuple[Tensor, Tensor]:
        """(context, target blocks): multi-block masking (section 3 and appendix A)."""
        options, axes = self.options, len(self.grid)
        boxes = []
        for number in range(options.targets + 1):
            chances = uniforms(keys, first_draw + number * (2 * axes + 1), 2 * axes + 1)
            (least, most), (narrow, wide) = options.context_scale, (1.0, 1.0)
            if number:
                (least, most), (narrow, wide) = options.target_scale, options.target_ratio
            patches = ((least + (most - least) * chances[0]) * self.encoder.backbone.patch_embed.num_patches).floor()
            ratios = [narrow + (wide - narrow) * chance for chance in chances[1 : axes + 1]]
            sides = _boxes.sides(patches, ratios, grid=self.grid)
            boxes.append(_boxes.placed(sides, chances[axes + 1 :], grid=self.grid).flatten(1))
        context, targets = boxes[0], []
        for block in boxes[1:]:
            left = context & ~block
            # a block that would leave no context is no target
            fits = left.any(dim=1, keepdim=True)
            context = torch.where(fits, left, context)
            targets.append(block & fits)
        shuffled = order(keys, first_draw + (options.targets + 1) * (2 * axes + 1), context.shape[1])
        return _masking.thinned(context, shuffled, count=self.seen), torch.stack(targets, dim=1)

    def _predicted(self, encoded: Tensor, *, seen: tuple[Tensor, Tensor], places: tuple[Tensor, Tensor]) -> Tensor:
        """Features (batch x targets, places, width) predicted for each target block by itself."""
        positions = self.predictor.pos_embed.expand(len(encoded), -1, -1)
        given = self.embed(encoded)
        given = given + tokens.get_at_index(positions, self._with_prefix(seen[0] + self.prefix)).to(given.dtype)
        count = self.options.targets
        given = given.repeat_interleave(count, dim=0)
        asked = tokens.get_at_index(positions.repeat_interleave(count, dim=0), places[0] + self.prefix)
        asked = (asked + self.predictor.mask_token).to(given.dtype)
        x = torch.cat([given, asked], dim=1)
        visible = self._with_prefix(seen[1], alike=True).repeat_interleave(count, dim=0)
        attended = torch.cat([visible, places[1]], dim=1)[:, None, None]
        return self.draw(self.predictor.decode(x, attn_mask=attended)[:, given.shape[1] :])

    def _with_prefix(self, values: Tensor, *, alike: bool = False) -> Tensor:
        """Values of patches (batch, patches) after those of class and register tokens: their indices, or all True."""
        prefix = torch.arange(self.prefix, device=values.device).expand(len(values), -1)
        return torch.cat([torch.ones_like(prefix, dtype=torch.bool) if alike else prefix, values], dim=1)


def _initialise(embed: nn.Linear, draw: nn.Linear, predictor: Decoder) -> None:
    """Give these layers the first weights of the published code: small ones, and smaller at the end of late blocks."""
    for module in (embed, draw, *predictor.modules()):
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    for number, block in enumerate(predictor.blocks, start=1):
        for last in (block.attn.proj, block.mlp.fc2):
            last.weight.data.div_(math.sqrt(2 * number))


def _predictor(encoder: Encoder, *, options: Options) -> Decoder:
    """The predictor, with fixed positions on the encoder's grid of patches; class and register tokens have none."""
    network, prefix = encoder.backbone, encoder.backbone.num_prefix_tokens
    predictor = Decoder(
        network.patch_embed.num_patches,
        options.predictor_dimension,
        options.predictor_depth,
        options.predictor_heads,
        num_prefix_tokens=prefix,
        initialize_weights=False,
    )
    nn.init.trunc_normal_(predictor.mask_token, std=0.02)
    positions = _masking.positions(network.patch_embed.grid_size, width=options.predictor_dimension)
    predictor.pos_embed.data[0, prefix:] = positions
    return predictor


def _check(options: Options, *, patches: int) -> None:
    """Refuse ranges that are none, and images without parts."""
    for option in ("target_scale", "context_scale"):
        _crops.check_shares(getattr(options, option), option=option)
    narrow, wide = options.target_ratio
    if not 0 < narrow <= wide:
        raise UserError(
            f"target_ratio must be a range of ratios above 0 (got {narrow:g} to {wide:g})",
            remedy="give the smaller one first",
        )
    if options.predictor_dimension % options.predictor_heads:
        raise UserError(
            f"predictor_dimension must be a multiple of predictor_heads (got {options.predictor_dimension} and"
            f" {options.predictor_heads})",
            remedy="change one of them",
        )
    if patches < 2:
        raise UserError("ijepa needs images of more than one patch", remedy="prepare larger images")


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
    return Ijepa(encoder, options=options, changes=views)
