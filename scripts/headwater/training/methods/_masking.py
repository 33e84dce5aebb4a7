"""Masking parts of an image: how many stay visible, and the reconstruction error of the masked ones.

Parts are squares of pictures or cubes of volumes; nothing here knows which.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from lightly.models import utils as tokens
from torch import Tensor


def visible_count(parts: int, *, mask: float) -> int:
    """How many of an image's parts stay visible if the fraction `mask` is hidden: at least one, and never all."""
    return min(max(1, round(parts * (1 - mask))), parts - 1)


def squared_error(predicted: Tensor, images: Tensor, *, hidden: Tensor, side: int, normalise: bool) -> Tensor:
    """Mean squared error of predicted parts (batch, hidden, side * side * 3) against the images' hidden parts.

    `normalise` standardises each target part by its own mean and standard deviation (He et al. 2021, section 3).
    """
    targets = tokens.get_at_index(parts(images, side=side), hidden)
    targets = tokens.normalize_mean_var(targets) if normalise else targets
    # losses are computed in float32, also under autocast
    return F.mse_loss(predicted.float(), targets.float())


def parts(images: Tensor, *, side: int) -> Tensor:
    """The parts of images (batch, colours, *space), row by row: (batch, parts, side ** axes * colours)."""
    batch, colours, *space = images.shape
    axes = len(space)
    split = images.reshape(batch, colours, *(number for edge in space for number in (edge // side, side)))
    outer, inner = range(2, 2 + 2 * axes, 2), range(3, 3 + 2 * axes, 2)
    return split.permute(0, *outer, *inner, 1).reshape(batch, -1, side**axes * colours)


def patches_of(cells: Tensor, *, side: int, grid: Sequence[int]) -> Tensor:
    """The patches (batch, patches) of a grid that lie in these squares or cubes of `side` patches (batch, *cells).

    Squares are cut where the grid ends.
    """
    for axis, edge in enumerate(grid, start=1):
        cells = cells.repeat_interleave(side, dim=axis).narrow(axis, 0, edge)
    return cells.flatten(1)


def places(chosen: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
    """The places of the chosen parts of each image, and which of them are no padding: (batch, count) each.

    No image has more than `count`. All have as many, so that a GPU need not tell how many there are.
    """
    # the chosen ones first, each kind in its order
    indices = chosen.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :count]
    return indices, chosen.gather(1, indices)


def thinned(chosen: Tensor, shuffled: Tensor, *, count: int) -> Tensor:
    """Of the chosen parts of each image (batch, parts) the first `count` in an order of all parts."""
    ordered = chosen.gather(1, shuffled)
    return torch.zeros_like(chosen).scatter(1, shuffled, ordered & (ordered.cumsum(dim=1) <= count))


def positions(grid: Sequence[int], *, width: int) -> Tensor:
    """Fixed sine-cosine embeddings of places on a grid, float32 (places, width), each axis with an equal share.

    As in He et al. 2021 for two axes (Vaswani et al. 2017, section 3.5); what cannot be shared equally is 0.
    """
    count = width // (2 * len(grid))
    frequencies = torch.exp(-math.log(10_000) * torch.arange(count) / max(1, count))
    places = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in grid), indexing="ij")
    waves = [wave(place.flatten()[:, None] * frequencies) for place in places for wave in (torch.sin, torch.cos)]
    return F.pad(torch.cat(waves, dim=1), (0, width - 2 * len(grid) * count))
