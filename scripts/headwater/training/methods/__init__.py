"""Methods: one file per way to pre-train a network on a corpus.

A plug-in holds
    Options: the hyper-parameters, with the paper's values as defaults
    learner(encoder, *, options, views, size, labels, task, targets, steps) -> Learner
        encoder   an Encoder to start from; size: side of the images in pixels
        labels    how many labels the corpus has; task: the `Task` that they make; targets: float32 (rows, labels)
        steps     how many optimiser steps there will be, for schedules
        gives a Learner whose `encoder` is what is kept; everything that it learns is in parameters and buffers, so
        that a training goes on exactly where it stopped
and may hold
    SMALLEST_BATCH  how many images a batch must have for the method to have something to compare
    BACKBONES       the only networks that it can train: files of their libraries, such as "timm/resnet"
    CELL            what the side of the images must be a multiple of
Nothing here needs torch until a method is loaded, so that a plan can be checked in a moment.
"""

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones


def check(method: str, *, backbone: str, size: int) -> None:
    """Refuse a network, or images of a size, that a method cannot train."""
    taken = registry.constant("methods", method, "BACKBONES", default=None)
    if taken is not None and backbones.family(backbone) not in taken:
        others = [name for name in registry.names("methods") if _takes(name, backbone)]
        raise UserError(
            f"{method} trains networks of {' and '.join(taken)}, and {backbone} is none of them",
            remedy=f"choose another backbone, or one of {', '.join(others)}",
        )
    cell = registry.constant("methods", method, "CELL", default=1)
    if size % cell or size < 2 * cell:
        raise UserError(
            f"{method} hides squares of {cell} pixels, and images of {size} are no multiple of it, or but one",
            remedy=f"prepare the corpus with size {max(2, round(size / cell)) * cell}",
        )


def _takes(method: str, backbone: str) -> bool:
    """Whether a method trains networks of this kind."""
    taken = registry.constant("methods", method, "BACKBONES", default=None)
    return taken is None or backbones.family(backbone) in taken
