"""Random crops: large and small augmented views of each image, for methods that compare views."""

import torch
from torch import Tensor

from headwater.core.errors import UserError
from headwater.study.recipe import Views
from headwater.training.augment import augment, uniform

DRAWS = 100
"""How many random numbers one view may use; each view's draws start at a multiple of this, so that none is reused."""


def wide(images: Tensor, keys: Tensor, changes: Views, *, least: float, size: int, count: int) -> list[Tensor]:
    """`count` views (batch, 3, size, size), each of at least the fraction `least` of the image's area.

    `changes.crop` takes the place of `least`, which is the method's own option.
    """
    changes = changes.model_copy(update={"crop": changes.crop or least})
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
    """`count` views (batch, 3, size, size), each of a fraction of the image's area in the range `shares`."""
    smallest, largest = shares
    # `augment` crops at most the whole of what it is given: so first a window of the largest area, then a crop of it
    narrow = changes.model_copy(update={"crop": smallest / largest})
    starts = [DRAWS * (first_view + view) for view in range(count)]
    return [
        # `window` uses the first two draws
        augment(window(images, keys, share=largest, draw=start), keys, narrow, size=size, first_draw=start + 2)
        for start in starts
    ]


def window(images: Tensor, keys: Tensor, *, share: float, draw: int) -> Tensor:
    """A cut-out at a random place of each image (batch, channels, h, w), with the fraction `share` of its area."""
    height, width = (max(1, round(side * share**0.5)) for side in images.shape[-2:])
    top = (uniform(keys, draw) * (images.shape[-2] - height + 1)).long()
    left = (uniform(keys, draw + 1) * (images.shape[-1] - width + 1)).long()
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    cases = torch.arange(len(images), device=images.device)
    # each sample has its own rows and columns, so the indices broadcast to (batch, height, width)
    return images.permute(0, 2, 3, 1)[cases[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def check_shares(shares: tuple[float, float], *, option: str) -> None:
    """Refuse a range of area fractions that is not within (0, 1]."""
    smallest, largest = shares
    if not 0 < smallest <= largest <= 1:
        raise UserError(
            f"{option} must be a range of image fractions above 0 and up to 1 (got {smallest:g} to {largest:g})",
            remedy="give the smaller one first",
        )
