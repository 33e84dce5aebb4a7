"""Optimiser steps: the losses of a batch, taken in parts if it is larger than memory, and one move of the weights."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.models import compiled
from headwater.models.recomputed import statistics_kept
from headwater.training import bad_loss, checkpoint, grad_cache, memory, schedule
from headwater.training.batches import Batch, seen
from headwater.training.ddp import tensor_float
from headwater.training.state import State


def learn(state: State, batch: Batch, *, seed: int) -> tuple[float, Tensor]:
    """Take one optimiser step; (learning rate, this rank's loss, still on its device)."""
    learner = state.learner
    state.load.step_begins()
    learner.before_step(step=state.step)
    # the schedule sets `lr` anew at each step, so the factor does not accumulate
    state.rate.step_update(state.step)
    decay = schedule.weight_decay(state.training, step=state.step, steps=state.steps)
    for group in state.optimiser.param_groups:
        group["lr"] *= learner.pace(step=state.step)
        if group["weight_decay"]:
            group["weight_decay"] = decay
    if state.parts is None:
        state.parts = _chosen(state, batch, seed=seed)
    loss = _gradients(state, batch, seed=seed)
    bad_loss.tell(loss, step=state.step + 1, world=state.world)
    if state.training.clip:
        # the norm to clip is that of the true gradients, not of those scaled up for fp16
        state.scaler.unscale_(state.optimiser)
        together = [state.trained] if state.training.clip_by == "network" else [[each] for each in state.trained]
        for parameters in together:
            nn.utils.clip_grad_norm_(parameters, state.training.clip)
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


def _chosen(state: State, batch: Batch, *, seed: int) -> int:
    """The parts in which this training takes its batches, by the memory at hand."""
    try:
        return memory.chosen_parts(state, batch, seed=seed)
    except torch.OutOfMemoryError as error:
        raise _too_large(error, state, images=1) from None


def _gradients(state: State, batch: Batch, *, seed: int) -> Tensor:
    """Compute the gradients of a step; this rank's loss.

    Where a GPU has too little memory, once in a training, all is put back and done in twice as many parts from then on.
    Of several ranks one alone may have too little, while the others wait for it in the middle of a pass.
    """
    learner, images = state.learner, len(batch.cases)
    may_halve = learner.in_parts and state.world.size == 1 and not state.halved
    may_halve = may_halve and images % (2 * state.parts * learner.together) == 0
    before = [buffer.clone() for buffer in learner.buffers()] if may_halve else []
    try:
        return _in_parts(state, batch, seed=seed)
    except torch.OutOfMemoryError as error:
        if not may_halve:
            raise _too_large(error, state, images=images // state.parts) from None
    # outside the `except`, whose error holds on to all that the failed pass has kept
    with torch.no_grad():
        for buffer, first in zip(learner.buffers(), before, strict=True):
            buffer.copy_(first)
    state.optimiser.zero_grad(set_to_none=True)
    del before
    if state.world.device.type == "cuda":
        torch.cuda.empty_cache()
    state.parts, state.halved = 2 * state.parts, True
    checkpoint.print_once(
        f"training: {2 * images // state.parts} images at a time take more memory than the GPU has; from step"
        f" {state.step + 1} on each batch is taken in {state.parts} parts, as training.accumulate: {state.parts} does"
    )
    try:
        return _in_parts(state, batch, seed=seed)
    except torch.OutOfMemoryError as error:
        raise _too_large(error, state, images=images // state.parts) from None


def _in_parts(state: State, batch: Batch, *, seed: int) -> Tensor:
    """Compute the gradients of a batch, part by part; this rank's loss."""
    # seeds dropout and stochastic depth from the step's number, so that no generator's state has to be saved
    draw = np.random.SeedSequence((seed, state.step, state.world.rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(draw[0]))
    inputs = (seen(state.learner, part, seed=seed)[0] for part, _ in batch.parts(state.parts))
    with (
        compiled.told() if state.world.compiled else nullcontext(),
        _limits_told(state.parts, images=len(batch.cases) // state.parts),
        bad_loss.looked_at(state.learner, inputs, step=state.step + 1) as look,
    ):
        if state.learner.compared and state.parts > 1:
            with tensor_float(state.training.precision):
                return grad_cache.gradients(state, batch, seed=seed, look=look)
        return sum(_backward(state, part, seed=seed, last=last) for part, last in batch.parts(state.parts))


def _backward(state: State, part: Batch, *, seed: int, last: bool) -> Tensor:
    """Add a part's share of the gradients of a step; its share of the loss, still on its device."""
    learner, count = state.learner, state.parts
    inputs, aims = seen(learner, part, seed=seed)
    # the DDP wrapper averages the gradients over the ranks in the backward pass of the last part
    with (
        nullcontext() if last or state.parallel is learner else state.parallel.no_sync(),
        tensor_float(state.training.precision),
    ):
        with torch.autocast(state.world.device.type, dtype=state.format, enabled=state.format is not None):
            loss = state.parallel(inputs, aims) / count
        with statistics_kept(learner) if state.training.checkpointing else nullcontext():
            state.scaler.scale(loss).backward()
    return loss.detach().float()


@contextmanager
def _limits_told(parts: int, *, images: int) -> Iterator[None]:
    """A block in which a BatchNorm layer that gets one value per channel, without a variance, is told in a line."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        least = 2 if parts == 1 else f"{2 * parts}, 2 for each part,"
        raise UserError(
            f"a batch of {images} leaves a BatchNorm layer of this network one value per channel, without a variance",
            remedy=f"raise batch to {least} or more, or prepare larger images",
        ) from None


def _too_large(error: torch.OutOfMemoryError, state: State, *, images: int) -> UserError:
    """What to set where so many images at a time do not fit into a GPU's memory; told by any rank, as by the first."""
    parts = f"set training.accumulate to {2 * state.parts}, " if state.learner.in_parts and images > 1 else ""
    fewer = "lower batch, or raise compute.ranks" if images > 1 else "take a smaller network or smaller images"
    taken = f"{images} images at a time take" if images > 1 else "even one image at a time takes"
    refusal = UserError(
        f"{taken} more memory than the GPU has ({str(error).splitlines()[0]})", remedy=f"{parts}{fewer}"
    )
    if not state.world.first:
        # its error is not shown, as the first rank has the same in all other cases
        print(f"training: rank {state.world.rank}: {refusal}", file=sys.stderr, flush=True)
    return refusal
