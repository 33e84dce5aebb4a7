"""Plain vision transformers, of pictures or volumes, that see some tokens of an image only, or a mask token instead."""

import torch
from lightly.models.modules.masked_vision_transformer_decoder_timm import MaskedVisionTransformerDecoderTIMM
from lightly.models.modules.masked_vision_transformer_timm import MaskedVisionTransformerTIMM
from torch import Tensor, nn

from headwater.models import compiled
from headwater.models.recomputed import blocks_of


class Decoder(MaskedVisionTransformerDecoderTIMM):
    """lightly's decoder, whose blocks can be computed a second time in the backward pass."""

    grad_checkpointing = False

    def compile_passes(self) -> None:
        """Let torch compile each block."""
        for block in self.blocks:
            compiled.in_place(block)

    def decode(self, x: Tensor, *, attn_mask: Tensor | None = None) -> Tensor:
        """The tokens after the blocks, which attend to those that the mask shows, and the last norm."""
        return self.norm(blocks_of(self, x, attn_mask=attn_mask))


class _Masked(MaskedVisionTransformerTIMM):
    """lightly's masked transformer, on images of the size that the network was built for."""

    def add_pos_embed(self, x: Tensor) -> Tensor:
        """Tokens with their positions; lightly would take any grid for a square."""
        without = self.vit.num_prefix_tokens if self.vit.no_embed_class else 0
        return self.vit.pos_drop(torch.cat([x[:, :without], x[:, without:] + self.vit.pos_embed], dim=1))


def masked(network: nn.Module, *, mask_token: nn.Parameter | None = None) -> MaskedVisionTransformerTIMM:
    """The transformer with lightly's ways to mask it; its weights are the network's own, and whether it checkpoints.

    Made anew at each step: as an attribute it would put every weight a second time into the checkpoint.
    """
    # "skip", because lightly would otherwise initialise the encoder anew
    made = _Masked(network, mask_token, weight_initialization="skip", pos_embed_initialization="skip")
    made.set_grad_checkpointing(network.grad_checkpointing)
    return made


def with_prefix(hidden: Tensor, *, prefix: int) -> Tensor:
    """Which tokens are hidden (batch, prefix + patches), from patches alone: class and register tokens never are."""
    return torch.cat([hidden.new_zeros(len(hidden), prefix), hidden], dim=1)
