"""Views: how training images are changed at random, for each kind of case by a module of its own.

A module holds
    DRAWS, WINDOW_DRAWS                       how many random numbers one call of `augment` and of `window` may use
    as_float(images)                          what the others take, from images as batches hold them
    augment(images, keys, changes, *, size, first_draw) -> Tensor
                                              changed images (batch, channels, *size), determined by the keys
    window(images, keys, *, share, draw)      a cut-out at a random place of each image, of that share of its extent
    check(changes, *, channels)               refuse changes that have no effect on such images
`draws` makes the random numbers of all of them. Nothing else in training knows pictures from volumes.
"""

from types import ModuleType
from typing import Protocol

from headwater.training.views import pictures, volumes

KINDS = {2: pictures, 3: volumes}
"""The module for images of so many dimensions."""


class Sized(Protocol):
    """What takes images of these sides, such as an encoder."""

    space: tuple[int, ...]


def of(network: Sized) -> ModuleType:
    """The views of the images that a network is given: of slices of volumes those of volumes, one voxel wide."""
    return KINDS[len(network.space)]
