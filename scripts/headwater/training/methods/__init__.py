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
    BACKBONES       the only networks that it can train: modules of their libraries, such as "timm/resnet", libraries,
                    or how the names of a library's list begin, such as "monai/unet"
    NEEDED          options without effect where another one is 0: {option: the other one}
    ONLY_ON         options that matter to some networks only: {option: networks, as in BACKBONES}
    CELL            the side of pictures must be a multiple of this many pixels, that of volumes of the STRIDE of the
                    network
    DIMENSIONS      of the images that it can train on, such as (2, 3); else (2,)
    APART           True where no image's loss depends on the others of its batch, but through BatchNorm
    COMPARED        True where the loss is one of the features of a whole batch, and the learner a `Compared`: in parts
                    it needs grad-cache, and a network without BatchNorm unless images are APART
    BY_BLOCKS       False where it does not call the encoder's own forward pass, so that nothing can be computed twice
    VIEWS           how many views of an image it compares: numbers and names of options, to be added up; else one view
torch is not imported until a method is loaded, so that checking a plan is quick.
"""

from collections.abc import Sequence

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.models import backbones
from headwater.study.idle_keys import changed


def check(method: str, *, backbone: str, size: int | tuple[int, ...]) -> None:
    """Refuse a network or an image size that a method cannot train."""
    _refuse_other_dimensions(method, backbone=backbone)
    if not _trains(method, backbone):
        others = [name for name in registry.names("methods") if _trains(name, backbone)]
        trainable = registry.constant("methods", method, "BACKBONES", default=())
        same = [name for name in trainable if _dims(name) == _dims(backbone)]
        raise UserError(
            f"{method} trains networks of {_enumerated(same)} only (got {backbone})",
            remedy=f"choose another backbone, or one of {', '.join(others)}",
        )
    if registry.constant("methods", method, "CELL", default=None):
        _refuse_parts_of_cells(method, backbone=backbone, size=size)


def check_options(method: Choice, *, backbone: str) -> None:
    """Refuse options of a method that change nothing of how it trains this network."""
    options = registry.chosen("methods", method)
    for key, kinds in registry.constant("methods", method.name, "ONLY_ON", default={}).items():
        if changed(options, key) and not backbones.belongs(backbone, kinds):
            raise UserError(
                f"{method.name}.{key} has an effect on networks of {_enumerated(kinds)} only (got {backbone})",
                remedy=f"leave {key} out",
            )


def takes_parts(method: str, *, backbone: str) -> bool:
    """Whether a method can take a batch of this network in parts, as far as is known without building the network."""
    if registry.constant("methods", method, "APART", default=False):
        return True
    compared = registry.constant("methods", method, "COMPARED", default=False)
    return compared and not backbones.has_batch_norm(backbone)


def _refuse_parts_of_cells(method: str, *, backbone: str, size: int | tuple[int, ...]) -> None:
    """Refuse a size that the squares or cubes of a method that masks them do not fill."""
    if _dims(backbone) == 3:
        cell, cells = backbones.stride(backbone), "cubes of {} voxels"
    else:
        cell, cells = registry.constant("methods", method, "CELL", default=None), "squares of {} pixels"
    # across a slice, which is one voxel wide, nothing is masked
    sides = (size,) if isinstance(size, int) else [side for side in size if side != 1]
    flat = isinstance(size, int) and _dims(backbone) == 2
    if any(side % cell or side < 2 * cell for side in sides):
        raise UserError(
            f"{method} masks {cells.format(cell)}, so the image size must be a multiple of {cell}, at least"
            f" {2 * cell} (got {size})",
            remedy=f"prepare the corpus with size {_nearest(size, cell)}" + (", or set such a view" if flat else ""),
        )


def _enumerated(names: Sequence[str]) -> str:
    """Names with commas, and `and` before the last."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _nearest(size: int | tuple[int, ...], cell: int) -> int | list[int]:
    """The size nearest to another that cells fill."""
    sides = [
        1 if side == 1 else max(2, round(side / cell)) * cell for side in ((size,) if isinstance(size, int) else size)
    ]
    return sides[0] if isinstance(size, int) else sides


def _refuse_other_dimensions(method: str, *, backbone: str) -> None:
    """Refuse a network for volumes if the method trains on pictures only, and the reverse."""
    wanted = _dims(backbone)
    if wanted not in dimensions(method):
        others = [name for name in registry.names("methods") if wanted in dimensions(name)]
        raise UserError(
            f"{method} does not train networks for {'volumes' if wanted == 3 else 'pictures'}, such as {backbone}",
            remedy=f"choose one of {', '.join(others)}",
        )


def dimensions(method: str) -> tuple[int, ...]:
    """Dimensions of the images that a method can train on."""
    return registry.constant("methods", method, "DIMENSIONS", default=(2,))


def _trains(method: str, backbone: str) -> bool:
    """Whether a method trains networks of this kind."""
    trainable = registry.constant("methods", method, "BACKBONES", default=None)
    return _dims(backbone) in dimensions(method) and (trainable is None or backbones.belongs(backbone, trainable))


def _dims(backbone: str) -> int:
    """Dimensions of the images that a network, or those of a library, takes."""
    return registry.constant("backbones", backbone.partition("/")[0], "DIMENSIONS", default=2)
