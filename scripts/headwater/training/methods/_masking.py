"""Masking parts of an image: how many stay visible, and the reconstruction error of the masked ones."""

import torch.nn.functional as F
from lightly.models import utils as tokens
from torch import Tensor


def visible_count(parts: int, *, mask: float) -> int:
    """How many of an image's parts stay visible if the fraction `mask` is hidden: at least one, and never all."""
    return min(max(1, round(parts * (1 - mask))), parts - 1)


def squared_error(predicted: Tensor, images: Tensor, *, hidden: Tensor, side: int, normalise: bool) -> Tensor:
    """Mean squared error of predicted squares (batch, hidden, side * side * 3) against the images' hidden squares.

    `normalise` standardises each target square by its own mean and standard deviation (He et al. 2021, section 3).
    """
    targets = tokens.get_at_index(tokens.patchify(images, side), hidden)
    targets = tokens.normalize_mean_var(targets) if normalise else targets
    # losses are computed in float32, also under autocast
    return F.mse_loss(predicted.float(), targets.float())
