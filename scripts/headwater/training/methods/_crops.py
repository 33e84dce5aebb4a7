"""Crops: large and small pieces of each image at random places, as methods show them that compare views."""

import torch
from torch import Tensor

from headwater.core.errors import UserError
from headwater.study.recipe import Views
from headwater.training.augment import augment, uniform

DRAWS = 100
"""Random numbers that one view may use; each view starts at its own multiple."""


def wide(images: Tensor, keys: Tensor, changes: Views, *, least: float, size: int, count: int) -> list[Tensor]:
    """So many views (batch, 3, size, size), each of at least the share `least` of the image's area."""
    changes = changes.model_copy(update={"crop": least})
    return [augment(images, keys, changes, size=size, first_draw=DRAWS * view) for view in range(count)]


def pieces(
    images: Tensor,
    keys: Tensor,
    changes: Views,
    *,
    shares: tuple[float, float],
    size: int,
    count: int,
    first_view: int = 0,
) -> list[Tensor]:
    """So many views (batch, 3, size, size), each of a share of the image's area between the two.

    A window with the largest share, and a random crop within.
    """
    least, most = shares
    narrow = changes.model_copy(update={"crop": least / most})
    starts = [DRAWS * (first_view + view) for view in range(count)]
    return [
        augment(window(images, keys, share=most, draw=start), keys, narrow, size=size, first_draw=start + 2)
        for start in starts
    ]


def window(images: Tensor, keys: Tensor, *, share: float, draw: int) -> Tensor:
    """A square cut of each image (batch, channels, h, w) that holds `share` of its area, at a random place."""
    height, width = (max(1, round(side * share**0.5)) for side in images.shape[-2:])
    top = (uniform(keys, draw) * (images.shape[-2] - height + 1)).long()
    left = (uniform(keys, draw + 1) * (images.shape[-1] - width + 1)).long()
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    cases = torch.arange(len(images), device=images.device)
    return images.permute(0, 2, 3, 1)[cases[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def check_shares(shares: tuple[float, float], *, option: str) -> None:
    """Refuse a smallest and a largest share of an area that are none."""
    least, most = shares
    if not 0 < least <= most <= 1:
        raise UserError(
            f"{option}: {least:g} to {most:g} are no shares of an image", remedy="say the smaller first, both up to 1"
        )
