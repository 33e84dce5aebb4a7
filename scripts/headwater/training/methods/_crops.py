"""Random crops: large and small augmented views of each image, for methods that compare views."""

from typing import Any

from torch import Tensor

from headwater.core.errors import UserError
from headwater.models.encoder import Encoder
from headwater.study.recipe import Views
from headwater.training import views

DRAWS = 100
"""How many random numbers one view may use; each view's draws start at a multiple of this, so that none is reused."""


def wide(encoder: Encoder, images: Any, keys: Tensor, changes: Views, *, least: float, count: int) -> list[Tensor]:
    """`count` views (batch, colours, *size) of the encoder's size, each of at least a fraction `least` of the image.

    `images` as batches hold them. `changes.crop` takes the place of `least`, which is the method's own option.
    """
    kind = views.of(encoder)
    changes, images = changes.model_copy(update={"crop": changes.crop or least}), kind.as_float(images)
    reducing = views.reducing(encoder, images)
    return [
        kind.augment(images, keys, changes.of_view(view), size=encoder.size, first_draw=DRAWS * view, **reducing)
        for view in range(count)
    ]


def pieces(
    encoder: Encoder,
    images: Any,
    keys: Tensor,
    changes: Views,
    *,
    shares: tuple[float, float],
    count: int,
    side: float | None = None,
    first_view: int = 0,
) -> list[Tensor]:
    """`count` views (batch, colours, *size), each of a fraction of the image in the range `shares`.

    `side`: their sides as a share of the encoder's, rounded to what it takes; none gives the encoder's own.
    """
    (smallest, largest), kind = shares, views.of(encoder)
    images, size = kind.as_float(images), encoder.size if side is None else smaller(encoder, side=side)
    reducing = views.reducing(encoder, images)
    # `augment` crops at most the whole of what it is given: so first a window of the largest extent, then a crop of it
    narrow = changes.model_copy(update={"crop": smallest / largest})
    made = []
    for view in range(first_view, first_view + count):
        cut = kind.window(images, keys, share=largest, draw=DRAWS * view)
        own, start = narrow.of_view(view), DRAWS * view + kind.WINDOW_DRAWS
        made.append(kind.augment(cut, keys, own, size=size, first_draw=start, **reducing))
    return made


def smaller(encoder: Encoder, *, side: float) -> int | tuple[int, ...]:
    """The size nearest to a share of the encoder's sides that it takes."""
    if isinstance(encoder.size, int):
        return encoder.sides(side * encoder.size)
    if encoder.multiple is None:
        return encoder.size
    # across a slice there is nothing to cut
    return tuple(1 if whole == 1 else encoder.sides(side * whole) for whole in encoder.size)


def check_shares(shares: tuple[float, float], *, option: str) -> None:
    """Refuse a range of area fractions that is not within (0, 1]."""
    smallest, largest = shares
    if not 0 < smallest <= largest <= 1:
        raise UserError(
            f"{option} must be a range of image fractions above 0 and up to 1 (got {smallest:g} to {largest:g})",
            remedy="give the smaller one first",
        )
