"""Grad-cache: the exact gradients of a loss that compares the images of a batch, with a part of them at a time.

Gao et al. 2021, arXiv 2101.06983, section 3. The features of all parts come first, and nothing is kept of how; then the
loss of the whole batch and its gradients by the features, with what follows the encoder; then the features of each part
once more, and the backward pass from their gradients through the encoder.
"""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from headwater.models.recomputed import statistics_kept
from headwater.training import ddp
from headwater.training.batches import Batch, seen
from headwater.training.state import State


def gradients(state: State, batch: Batch, *, seed: int, look: Callable[[Tensor], None] | None = None) -> Tensor:
    """Compute the gradients of a batch, the same on all ranks; this rank's loss, still on its device.

    `look` is called with the loss before its backward pass.
    """
    learner, parts = state.learner, [part for part, _ in batch.parts(state.parts)]
    found, momentum = [], []
    with torch.no_grad():
        for number, part in enumerate(parts):
            views, _ = seen(learner, part, seed=seed)
            with _autocast(state):
                _draw_alike(state, number, seed=seed, of="momentum")
                momentum.append(learner.momentum_features(views))
                # it moves the running statistics the second time
                with statistics_kept(learner):
                    _draw_alike(state, number, seed=seed, of="features")
                    found.append(learner.features(views))
    features = [torch.cat(each).requires_grad_() for each in zip(*found, strict=True)]
    del found, views
    with _autocast(state):
        loss = learner.loss(features, [torch.cat(each) for each in zip(*momentum, strict=True)])
    if look:
        look(loss)
    state.scaler.scale(loss).backward()
    for number, (part, *given) in enumerate(
        zip(parts, *(each.grad.chunk(len(parts)) for each in features), strict=True)
    ):
        views, _ = seen(learner, part, seed=seed)
        with _autocast(state):
            _draw_alike(state, number, seed=seed, of="features")
            again = learner.features(views)
        with statistics_kept(learner) if state.training.checkpointing else nullcontext():
            torch.autograd.backward(again, given)
    # not by the DDP wrapper, which knows of one forward and one backward pass
    for parameter in state.trained:
        if parameter.grad is not None:
            ddp.average(parameter.grad, state.world)
    return loss.detach().float()


def _draw_alike(state: State, number: int, *, seed: int, of: str) -> None:
    """Seed dropout and stochastic depth of a part from the step's number, so that they are the same both times."""
    place = seed, state.step, state.world.rank, number, ("momentum", "features").index(of)
    torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))


def _autocast(state: State) -> torch.autocast:
    return torch.autocast(state.world.device.type, dtype=state.format, enabled=state.format is not None)
