"""Reading: what a training step sees of its cases, and what a network says of whole cases, for each kind of case.

A module holds
    step(images, targets, *, rows, places, keys, device)   images and targets of one rank's part of a mini-batch, on the
                                              CPU; `places` are positions in `rows`, which `targets` are in the order of
    announce(images, rows)                    have the disk begin to read some rows, ascending, which are needed soon
    said(network, images, *, rows, batch, device, asked) -> Iterator
                                              the network's outputs for some of the rows at a time, in order; `asked` is
                                              what is measured of whole volumes, see `reading.volumes`
Nothing else in training knows arrays of pictures from volumes.
"""

from types import ModuleType
from typing import Any

from headwater.data.volumes import Volumes
from headwater.training.reading import pictures, volumes


def of(images: Any) -> ModuleType:
    """How prepared images are read: pictures and slices, or volumes."""
    return volumes if isinstance(images, Volumes) else pictures
