"""Optimiser steps: the losses of a batch, taken in parts if it is larger than memory, and one move of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.study.recipe import Training
from headwater.training import schedule
from headwater.training.batches import Batch
from headwater.training.ddp import tensor_float
from headwater.training.state import State
from headwater.training.views import draws

if TYPE_CHECKING:
    from headwater.training.loop import Learner


def learn(state: State, batch: Batch, *, seed: int) -> tuple[float, Tensor]:
    """Take one optimiser step; (learning rate, this rank's loss, still on its device)."""
    learner, world = state.learner, state.world
    state.load.step_begins()
    learner.before_step(step=state.step)
    # seeds dropout and stochastic depth from the step's number, so that no generator's state has to be saved
    draw = np.random.SeedSequence((seed, state.step, world.rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(draw[0]))
    # the schedule sets `lr` anew at each step, so the factor does not accumulate
    state.rate.step_update(state.step)
    decay = schedule.weight_decay(state.training, step=state.step, steps=state.steps)
    for group in state.optimiser.param_groups:
        group["lr"] *= learner.pace(step=state.step)
        if group["weight_decay"]:
            group["weight_decay"] = decay
    loss = sum(_backward(state, part, seed=seed, last=last) for part, last in batch.parts(state.training.accumulate))
    if state.training.clip:
        # the norm to clip is that of the true gradients, not of those scaled up for fp16
        state.scaler.unscale_(state.optimiser)
        nn.utils.clip_grad_norm_(state.trained, state.training.clip)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    # None instead of zeros: optimisers skip parameters without a gradient, weight decay included
    state.optimiser.zero_grad(set_to_none=True)
    learner.after_step(step=state.step, steps=state.steps)
    state.step += 1
    state.load.step_ends()
    if state.average:
        state.average.update(learner, step=state.step)
    # the largest rate is logged (with layer decay, the head's); the loss stays on its device, because reading it would
    # make the CPU wait
    return max(group["lr"] for group in state.optimiser.param_groups), loss


def _backward(state: State, part: Batch, *, seed: int, last: bool) -> Tensor:
    """Add a part's share of the gradients of a step; its share of the loss, still on its device."""
    learner, count = state.learner, state.training.accumulate
    inputs, aims = seen(learner, part, seed=seed)
    # the DDP wrapper averages the gradients over the ranks in the backward pass of the last part
    with (
        _limits_told(state.training, images=len(part.cases)),
        nullcontext() if last or state.parallel is learner else state.parallel.no_sync(),
        tensor_float(state.training.precision),
    ):
        with torch.autocast(state.world.device.type, dtype=state.format, enabled=state.format is not None):
            loss = state.parallel(inputs, aims) / count
        state.scaler.scale(loss).backward()
    return loss.detach().float()


@torch.no_grad()
def seen(learner: "Learner", part: Batch, *, seed: int) -> tuple[list[Tensor], Any]:
    """The views of the images of a part of a batch, and the targets that belong to them."""
    keys = draws.keys(seed=seed, epochs=part.epochs, cases=part.cases)
    return learner.views(part.images, keys), learner.aims(part.targets, keys)


@contextmanager
def _limits_told(training: Training, *, images: int) -> Iterator[None]:
    """A block in which what so many images at once do not allow is told in a line.

    A BatchNorm layer that gets one value per channel has no variance, and a GPU has so much memory.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        least = 2 if training.accumulate == 1 else f"{2 * training.accumulate}, 2 for each part,"
        raise UserError(
            f"a batch of {images} leaves a BatchNorm layer of this network one value per channel, without a variance",
            remedy=f"raise batch to {least} or more, or prepare larger images",
        ) from None
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{images} images at a time take more memory than the GPU has ({str(error).splitlines()[0]})",
            remedy=f"set training.accumulate to {2 * training.accumulate} (fine-tuning, mae, spark, supervised), lower"
            " batch, or raise compute.ranks",
        ) from None
