"""Hiding parts of an image: how many are seen, and how well the others were drawn."""

import torch.nn.functional as F
from lightly.models import utils as tokens
from torch import Tensor


def seen(parts: int, *, mask: float) -> int:
    """How many of an image's parts are seen where a share of them is hidden: at least one, and never all."""
    return min(max(1, round(parts * (1 - mask))), parts - 1)


def squared_error(drawn: Tensor, images: Tensor, *, hidden: Tensor, side: int, normalise: bool) -> Tensor:
    """Mean squared error of drawn squares (batch, hidden, side * side * 3) against those places of the images.

    `normalise` measures each square in units of its own mean and spread (He et al. 2021, section 3).
    """
    wanted = tokens.get_at_index(tokens.patchify(images, side), hidden)
    wanted = tokens.normalize_mean_var(wanted) if normalise else wanted
    return F.mse_loss(drawn.float(), wanted.float())
