"""Masked autoencoder: a network sees a quarter of an image's patches and learns to draw those that it did not see.

He et al. 2021, arXiv 2111.06377. The masked transformer and the decoder are lightly's. The encoder keeps the weights
and positions that it starts with, drawn or continued; the paper draws its own and fixes positions as sines and cosines.
"""

import numpy as np
import torch
from lightly.models import utils as tokens
from lightly.models.modules.masked_vision_transformer_decoder_timm import MaskedVisionTransformerDecoderTIMM
from lightly.models.modules.masked_vision_transformer_timm import MaskedVisionTransformerTIMM
from pydantic import Field
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.tasks import Task
from headwater.study.recipe import Views
from headwater.training.augment import DRAWS, as_float, augment, order
from headwater.training.loop import Learner
from headwater.training.methods import _masking

BACKBONES = ("timm/vision_transformer",)


class Options(Record):
    """The paper's values (section 4.1 and appendix A.1)."""

    mask: float = Field(0.75, gt=0, lt=1)
    """Share of the patches that are hidden."""
    decoder_dimension: int = Field(512, ge=4)
    """Width of the decoder, a multiple of its heads and of 4."""
    decoder_depth: int = Field(8, ge=1)
    decoder_heads: int = Field(16, ge=1)
    normalise: bool = True
    """Whether each patch is drawn in units of its own mean and spread."""


class MaskedAutoencoder(Learner):
    """An encoder of the patches that are seen, and a decoder of those that are hidden; the encoder is kept."""

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.encoder, self.options, self.changes = encoder, options, changes
        network = encoder.backbone
        self.patch, self.prefix = network.patch_embed.patch_size[0], network.num_prefix_tokens
        self.patches = network.patch_embed.num_patches
        if self.patches < 2:
            raise UserError("an image of one patch is seen whole or not at all", remedy="prepare larger images")
        self.seen = _masking.seen(self.patches, mask=options.mask)
        # the global random state is left alone
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embed = nn.Linear(network.embed_dim, options.decoder_dimension)
            self.decoder = MaskedVisionTransformerDecoderTIMM(
                self.patches,
                options.decoder_dimension,
                options.decoder_depth,
                options.decoder_heads,
                num_prefix_tokens=self.prefix,
            )
            self.draw = nn.Linear(options.decoder_dimension, 3 * self.patch**2)

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """The image, and the order of its patches: the first are seen, the rest hidden."""
        view = augment(as_float(images), keys, self.changes, size=self.encoder.size)
        return [view, order(keys, DRAWS, self.patches)]

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """Mean squared error of the hidden patches (section 3)."""
        images, shuffled = views
        kept, hidden = self._places(shuffled)
        drawn = self.draw(self._decoded(self.encode(images, kept), kept=kept, hidden=hidden))
        return _masking.squared_error(
            drawn,
            self.encoder.normalised(images),
            hidden=hidden - self.prefix,
            side=self.patch,
            normalise=self.options.normalise,
        )

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        """What the encoder makes of some tokens of each image, by their numbers (batch, kept)."""
        # made for each step: kept, it would give every weight a second name in the progress
        masked = MaskedVisionTransformerTIMM(
            self.encoder.backbone, weight_initialization="skip", pos_embed_initialization="skip"
        )
        return masked.encode(self.encoder.normalised(images), idx_keep=kept)

    def _places(self, shuffled: Tensor) -> tuple[Tensor, Tensor]:
        """(tokens that are seen, tokens that are hidden); class and register tokens are always seen."""
        prefix = torch.arange(self.prefix, device=shuffled.device).expand(len(shuffled), -1)
        places = shuffled + self.prefix
        return torch.cat([prefix, places[:, : self.seen]], dim=1), places[:, self.seen :]

    def _decoded(self, encoded: Tensor, *, kept: Tensor, hidden: Tensor) -> Tensor:
        """The decoder's tokens at the hidden places (batch, hidden, width)."""
        embedded = self.embed(encoded)
        whole = embedded.new_zeros(len(embedded), self.prefix + self.patches, embedded.shape[-1])
        whole = tokens.set_at_index(whole, kept, embedded)
        return tokens.get_at_index(self.decoder(whole, idx_mask=hidden), hidden)


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
    return MaskedAutoencoder(encoder, options=options, changes=views)
