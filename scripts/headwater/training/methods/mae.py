"""Masked autoencoder: a network sees a quarter of an image's patches and learns to reconstruct the hidden ones.

He et al. 2021, arXiv 2111.06377. The masked transformer and the decoder are lightly's. The encoder keeps the initial
weights and position embeddings of its source; the paper initialises its own and fixes positions as sines and cosines.
"""

import numpy as np
import torch
from lightly.models import utils as tokens
from pydantic import Field
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.tasks import Task
from headwater.study.recipe import Views
from headwater.training import views
from headwater.training.loop import Learner
from headwater.training.methods import _branches, _masking, _transformers
from headwater.training.methods._transformers import Decoder
from headwater.training.views.draws import order

BACKBONES = ("timm/vision_transformer", "vit3d")
DIMENSIONS = (2, 3)
APART = True
PHOTOGRAPHS = {"crop": 0.2, "flip": 0.5, "resampling": "bicubic"}
"""As in the published code; colours stay, since they are to be reconstructed."""


class Options(Record):
    """The paper's values (section 4.1 and appendix A.1)."""

    mask: float = Field(0.75, gt=0, lt=1)
    """Fraction of the patches that are hidden."""
    decoder_dimension: int = Field(512, ge=4)
    """Width of the decoder; a multiple of its number of heads and of 4."""
    decoder_depth: int = Field(8, ge=1)
    decoder_heads: int = Field(16, ge=1)
    normalise: bool = True
    """Whether the target is each patch standardised by its own mean and standard deviation."""


class MaskedAutoencoder(Learner):
    """An encoder of the visible patches and a decoder that reconstructs the hidden ones; the encoder is kept."""

    apart = APART

    def __init__(self, encoder: Encoder, *, options: Options, changes: Views):
        super().__init__()
        self.encoder, self.options, self.changes = encoder, options, changes
        network = encoder.backbone
        self.patch, self.prefix = network.patch_embed.patch_size[0], network.num_prefix_tokens
        self.patches = network.patch_embed.num_patches
        if self.patches < 2:
            raise UserError("mae needs images of more than one patch", remedy="prepare larger images")
        self.seen = _masking.visible_count(self.patches, mask=options.mask)
        with _branches.fixed_seed():
            self.embed = nn.Linear(network.embed_dim, options.decoder_dimension)
            self.decoder = _decoder(encoder, options=options)
            self.draw = nn.Linear(options.decoder_dimension, encoder.colours * self.patch**encoder.dimensions)

    def compute_twice(self) -> None:
        """Let the backward pass compute the blocks of the encoder and of the decoder a second time."""
        super().compute_twice()
        self.decoder.grad_checkpointing = True

    def compile_passes(self) -> None:
        """Let torch compile the blocks of the encoder and of the decoder."""
        super().compile_passes()
        self.decoder.compile_passes()

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """The augmented image, and a random order of its patches: the first are visible, the rest hidden."""
        view = views.one(self.encoder, images, keys, self.changes)
        return [view, order(keys, views.of(self.encoder).DRAWS, self.patches)]

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """Mean squared error of the hidden patches (section 3)."""
        images, shuffled = views
        visible, hidden = self._places(shuffled)
        predicted = self.draw(self._decoded(self.encode(images, visible), visible=visible, hidden=hidden))
        return _masking.squared_error(
            predicted,
            self.encoder.normalised(images),
            # among patches only, which do not include class and register tokens
            hidden=hidden - self.prefix,
            side=self.patch,
            normalise=self.options.normalise,
        )

    def encode(self, images: Tensor, visible: Tensor) -> Tensor:
        """The encoder's output for the tokens of each image with these indices (batch, visible)."""
        network = _transformers.masked(self.encoder.backbone)
        return network.encode(self.encoder.normalised(images), idx_keep=visible)

    def _places(self, shuffled: Tensor) -> tuple[Tensor, Tensor]:
        """Indices of (visible tokens, hidden tokens); class and register tokens are always visible."""
        prefix = torch.arange(self.prefix, device=shuffled.device).expand(len(shuffled), -1)
        places = shuffled + self.prefix
        return torch.cat([prefix, places[:, : self.seen]], dim=1), places[:, self.seen :]

    def _decoded(self, encoded: Tensor, *, visible: Tensor, hidden: Tensor) -> Tensor:
        """The decoder's output for the hidden tokens (batch, hidden, width)."""
        embedded = self.embed(encoded)
        # zeros stand in for hidden tokens; the decoder replaces those of `idx_mask` by its mask token
        whole = embedded.new_zeros(len(embedded), self.prefix + self.patches, embedded.shape[-1])
        whole = tokens.set_at_index(whole, visible, embedded)
        return tokens.get_at_index(self.decoder(whole, idx_mask=hidden), hidden)


def _decoder(encoder: Encoder, *, options: Options) -> Decoder:
    """The decoder, with fixed positions on the encoder's grid of patches."""
    network = encoder.backbone
    grid, prefix = network.patch_embed.grid_size, network.num_prefix_tokens
    # lightly knows the positions of squares only
    squares = len(grid) == 2 and grid[0] == grid[1]
    decoder = Decoder(
        network.patch_embed.num_patches,
        options.decoder_dimension,
        options.decoder_depth,
        options.decoder_heads,
        num_prefix_tokens=prefix,
        initialize_weights=squares,
    )
    if not squares:
        nn.init.normal_(decoder.mask_token, std=0.02)
        decoder.pos_embed.data[0, prefix:] = _masking.positions(grid, width=options.decoder_dimension)
    return decoder


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
