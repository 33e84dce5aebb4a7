"""Memory of a training step: what weights, gradients, moments and activations take, measured on a few images.

The real step of the real network is taken on two small batches, and every tensor that it makes is counted while it
lives. What is in memory after an operation grows by the same number of bytes with each image, so larger batches follow
from the two: at the moment that takes most in them, which may be another one, as large heads take theirs once.
"""

import copy
import os
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from headwater.core import text
from headwater.core.errors import UserError
from headwater.models import compiled
from headwater.models.recomputed import compares_images
from headwater.study.recipe import Training
from headwater.study.step_memory import StepMemory, usable
from headwater.training.batches import Batch, seen
from headwater.training.checkpoint import print_once
from headwater.training.ddp import gather
from headwater.training.sharding import whole_at_once

if TYPE_CHECKING:
    from headwater.training.loop import Learner
    from headwater.training.state import State

MOMENTS = {"adamw": 2, "adam": 2, "lamb": 2, "sgd": 1, "lars": 1}
"""Numbers that an optimiser keeps for each weight."""


class Living(TorchDispatchMode):
    """Counts the bytes of the tensors that are made within it while they live, and the most at once.

    Tensors that share their memory count once, and `known` ones, which were there before, not at all. `after` are the
    bytes after each operation.
    """

    def __init__(self, known: Iterable[Tensor]):
        super().__init__()
        self.now = self.most = 0
        self.after: list[int] = []
        # kept, as the address of one that dies would be taken by a new one, which would not be counted
        self._known = [tensor.untyped_storage() for tensor in known]
        self._addresses = {storage._cdata for storage in self._known}

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        """What an operation returns, which is counted."""
        made = function(*arguments, **(keywords or {}))
        tree_map_only(Tensor, self._count, made)
        self.after.append(self.now)
        return made

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._addresses:
            self._addresses.add(storage._cdata)
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, address: int, size: int) -> None:
        self._addresses.discard(address)
        self.now -= size


def measured(
    learner: "Learner",
    batches: tuple[Batch, Batch],
    *,
    training: Training,
    steps: int,
    format: torch.dtype | None,
    seed: int = 0,
) -> StepMemory:
    """What a step of a learner takes, from two batches of different size on its device.

    It is that of the last of so many steps, in which all weights learn that ever do. The learner stays as it is: a copy
    takes the steps. `format` is the dtype for autocast, None for plain float32.
    """
    copied = _copied(learner)
    copied.mode(True)
    groups = copied.parameter_groups(training)
    copied.before_step(step=steps - 1)
    trained = [parameter for group in groups for parameter in group["params"]]
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    images, how = tuple(len(batch.cases) for batch in batches), {"format": format, "seed": seed}
    passing = [_passing(copied, batch, **how).after for batch in batches]
    (activations, image), *larger = _moments(*passing, images=images)
    features, compared = _compared(copied, batches, **how) if copied.compared else (0, ())
    weights = sum(
        tensor.nbytes for tensor in {**dict(copied.named_parameters()), **dict(copied.named_buffers())}.values()
    )
    moments = MOMENTS[training.optimiser] if training.optimiser != "lars" or training.momentum else 0
    gradients = sum(parameter.nbytes for parameter in trained)
    return StepMemory(
        weights=weights,
        gradients=gradients,
        moments=moments * gradients + (weights if training.ema else 0),
        activations=activations,
        image=image,
        larger=tuple(larger),
        held=sum(tensor.nbytes for tensor in _tensors(vars(batches[0]))) // images[0],
        features=features,
        compared=compared,
        gathered=whole_at_once(copied),
    )


def _copied(learner: "Learner") -> "Learner":
    """A learner like this one, with weights of its own."""
    # torch copies no tensor that was computed of others, such as what weight_norm makes anew in each forward pass
    computed = [
        held
        for module in learner.modules()
        for held in vars(module).values()
        if isinstance(held, Tensor) and not held.is_leaf
    ]
    return copy.deepcopy(learner, {id(tensor): tensor.detach().clone() for tensor in computed})


def _moments(fewer: list[int], more: list[int], *, images: tuple[int, int]) -> list[tuple[int, int]]:
    """(bytes, bytes for each image) at each moment at which most is in memory for some number of images, in order.

    `fewer` and `more` are the bytes after each operation of a pass of so many `images`.
    """
    if len(fewer) != len(more):
        # a pass that depends on its images: all that is known are the most bytes of both
        fewer, more = [max(fewer)], [max(more)]
    low, high = np.array(fewer, dtype=np.int64), np.array(more, dtype=np.int64)
    each = np.maximum(0, -((low - high) // (images[1] - images[0])))
    lines = {(max(0, int(constant)), int(slope)) for constant, slope in zip(low - images[0] * each, each, strict=True)}
    found = [max(lines, key=lambda line: (line[0] + line[1], line[1]))]
    # the next one is that which overtakes first
    while steeper := [line for line in lines if line[1] > found[-1][1]]:
        constant, slope = found[-1]
        found.append(min(steeper, key=lambda line: ((constant - line[0]) / (line[1] - slope), -line[1])))
    return found


def chosen_parts(state: "State", batch: Batch, *, seed: int) -> int:
    """The fewest parts of each rank's share of a batch with which a step fits into its memory; the same on all ranks.

    Refused where none fit, and where several would be needed by a network whose BatchNorm would then have statistics
    that depend on the GPU at hand.
    """
    world, share, together = state.world, len(batch.cases), state.learner.together
    room = world.memory or available(world.device)
    step = _at_hand(state, batch, seed=seed)
    fitting = step.parts(share, memory=room, ranks=world.size, together=together) if step else 1
    agreed = gather(torch.tensor([fitting or 0]), world)
    if not agreed.all():
        raise UserError(
            f"even {text.many(together, 'image')} at a time take more memory than the {usable(room) / 1e9:.1f} GB to"
            " count on",
            remedy="take a smaller network, smaller images or a larger GPU, and set compute.gpu_memory to its memory",
        )
    parts = int(agreed.max())
    if parts > 1 and state.learner.normalises_parts:
        raise UserError(
            f"accumulate: auto would take batches in {parts} parts here, and BatchNorm would have statistics of as many"
            " images as fit this GPU",
            remedy=f"set training.accumulate to {parts}, so that they are the same on every GPU",
        )
    print_once(
        f"training: accumulate is {parts}: {text.many(share // parts, 'image')} of {share} at a time, by"
        f" {usable(room) / 1e9:.1f} GB to count on"
    )
    return parts


def _at_hand(state: "State", batch: Batch, *, seed: int) -> StepMemory | None:
    """What a step takes on its device, measured on the first images of a batch; none if it has too few for that."""
    # BatchNorm, of heads too, has no variance over one image
    least = 2 if compares_images(state.learner) else 1
    few = -(-least // state.learner.together) * state.learner.together
    if len(batch.cases) < 2 * few:
        return None
    how = {"training": state.training, "steps": state.steps, "format": state.format, "seed": seed}
    # what is compiled makes no tensors that can be counted; it takes less, if anything
    with compiled.passed_over():
        step = measured(state.learner, (batch.cut(slice(few)), batch.cut(slice(2 * few))), **how)
    if state.world.device.type == "cuda":
        # what the measurement has left would not fit between the tensors of larger batches
        torch.cuda.empty_cache()
    return step


def available(device: torch.device) -> int:
    """The bytes of a device's memory that this process has or can get; those of a CPU are shared by its processes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return psutil.virtual_memory().available // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _passing(learner: "Learner", batch: Batch, *, format: torch.dtype | None, seed: int) -> Living:
    """What the forward and backward pass of a batch make, besides weights and gradients."""
    torch.manual_seed(seed)
    with Living([*_lasting(learner), *_tensors(vars(batch))]) as living:
        inputs, aims = seen(learner, batch, seed=seed)
        with _autocast(batch, format):
            loss = learner(inputs, aims)
        loss.backward()
    return living


def _compared(learner: "Learner", batches: tuple[Batch, Batch], **how: Any) -> tuple[int, tuple[tuple[int, int], ...]]:
    """(bytes of the features of each image, moments of the loss that compares them)."""
    images = tuple(len(batch.cases) for batch in batches)
    (fewer, left), (more, _) = (_comparing(learner, batch, **how) for batch in batches)
    return -(-left // images[0]), tuple(_moments(fewer.after, more.after, images=images))


def _comparing(learner: "Learner", batch: Batch, *, format: torch.dtype | None, seed: int) -> tuple[Living, int]:
    """What a loss that compares features of a batch makes, forward and back; bytes of features that it leaves."""
    torch.manual_seed(seed)
    inputs, _ = seen(learner, batch, seed=seed)
    with torch.no_grad(), _autocast(batch, format):
        momentum, found = learner.momentum_features(inputs), learner.features(inputs)
    with Living(_lasting(learner)) as living:
        # those of parts, which stay, and those of all
        held = [each.clone() for each in momentum]
        features = [each.clone().requires_grad_() for each in found]
        with _autocast(batch, format):
            loss = learner.loss(features, [each.clone() for each in held])
        loss.backward()
    return living, sum(each.nbytes for each in [*held, *features, *features])


def _lasting(learner: "Learner") -> list[Tensor]:
    """Weights, buffers and gradients of a learner."""
    of_weights = (each.grad for each in learner.parameters() if each.grad is not None)
    return [*learner.parameters(), *learner.buffers(), *of_weights]


def _autocast(batch: Batch, format: torch.dtype | None) -> torch.autocast:
    return torch.autocast(batch.cases.device.type, dtype=format, enabled=format is not None)


def _tensors(held: Any) -> Iterator[Tensor]:
    """All tensors in a value: itself, or what its fields or entries hold."""
    if isinstance(held, Tensor):
        yield held
    elif is_dataclass(held):
        for field in fields(held):
            yield from _tensors(getattr(held, field.name))
    elif isinstance(held, dict | list | tuple):
        for entry in held.values() if isinstance(held, dict) else held:
            yield from _tensors(entry)
