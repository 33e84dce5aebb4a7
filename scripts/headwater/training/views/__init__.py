"""Views: how training images are changed at random, for each kind of case by a module of its own.

A module holds
    DRAWS, WINDOW_DRAWS                       how many random numbers one call of `augment` and of `window` may use
    as_float(images)                          what the others take, from images as batches hold them
    augment(images, keys, changes, *, size, first_draw) -> Tensor
                                              changed images (batch, channels, *size), determined by the keys; of
                                              pictures also without aliasing, as `reducing` says
    window(images, keys, *, share, draw)      a cut-out at a random place of each image, of that share of its extent
    check(changes, *, channels)               refuse changes that have no effect on such images
`draws` makes the random numbers of all of them. Nothing else in training knows pictures from volumes.
"""

from types import ModuleType
from typing import Any, Protocol

from torch import Tensor

from headwater.study.recipe import Views
from headwater.training.views import pictures, volumes

KINDS = {2: pictures, 3: volumes}
"""The module for images of so many dimensions."""


class Sized(Protocol):
    """What takes images of these sides, such as an encoder."""

    space: tuple[int, ...]


def of(network: Sized) -> ModuleType:
    """The views of the images that a network is given: of slices of volumes those of volumes, one voxel wide."""
    return KINDS[len(network.space)]


def reducing(network: Sized, images: Any) -> dict[str, bool]:
    """How `augment` makes views of images that a network is given: without aliasing where they are larger than it.

    `images` as `as_float` gives them. Views of pictures of its own size stay as they were in earlier versions, even
    where small ones of them shrink; patches of volumes always have its size.
    """
    return {"antialias": True} if isinstance(images, Tensor) and images.shape[-1] > network.space[-1] else {}


def one(network: Sized, images: Any, keys: Tensor, changes: Views) -> Tensor:
    """One changed view of each image (batch, channels, *size), of the network's own size; images as batches hold them.

    Where it crops nothing it shows the whole image.
    """
    kind = of(network)
    values = kind.as_float(images)
    size = network.space if len(network.space) == 3 else network.space[-1]
    return kind.augment(values, keys, changes, size=size, **reducing(network, values))
