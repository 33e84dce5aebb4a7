"""Methods: one file per pre-training method.

A plug-in defines
    Options: the hyper-parameters, with the paper's values as defaults
    learner(encoder, *, options, views, size, labels, task, targets, steps) -> Learner
        encoder   the Encoder to start from; size: side of the images in pixels
        labels    number of labels of the corpus; task: their `Task`; targets: float32 (rows, labels)
        steps     number of optimiser steps, for schedules
        returns a Learner whose `encoder` is saved at the end; all its state is in parameters and buffers, so that a
        training resumes exactly
and may define
    SMALLEST_BATCH  the smallest batch that the method can work with
    BACKBONES       the only networks that it can train: modules of their libraries, such as "timm/resnet"
    NEEDED          options without effect where another one is 0: {option: the other one}
    CELL            the side of the images must be a multiple of this many pixels
torch is not imported until a method is loaded, so that checking a plan is quick.
"""

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones


def check(method: str, *, backbone: str, size: int) -> None:
    """Refuse a network or an image size that a method cannot train."""
    trainable = registry.constant("methods", method, "BACKBONES", default=None)
    if trainable is not None and backbones.family(backbone) not in trainable:
        others = [name for name in registry.names("methods") if _trains(name, backbone)]
        raise UserError(
            f"{method} trains networks of {' and '.join(trainable)} only (got {backbone})",
            remedy=f"choose another backbone, or one of {', '.join(others)}",
        )
    cell = registry.constant("methods", method, "CELL", default=1)
    if size % cell or size < 2 * cell:
        raise UserError(
            f"{method} masks squares of {cell} pixels, so the image size must be a multiple of {cell}, at least"
            f" {2 * cell} (got {size})",
            remedy=f"prepare the corpus with size {max(2, round(size / cell)) * cell}",
        )


def _trains(method: str, backbone: str) -> bool:
    """Whether a method trains networks of this kind."""
    trainable = registry.constant("methods", method, "BACKBONES", default=None)
    return trainable is None or backbones.family(backbone) in trainable
