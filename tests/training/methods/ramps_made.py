"""Pictures of which each part tells the hidden ones, and short trainings of a method that fills these in."""

import contextlib
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from headwater.training.loop import Learner
from headwater.training.methods import _masking
from headwater.training.views.draws import keys


def ramps(count: int, *, side: int, seed: int) -> Tensor:
    """Grey pictures uint8 (count, 1, side, side) that become brighter along a direction each."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, (count, 1, 1))
    down, across = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    return torch.from_numpy((127.5 + 85 * (across * np.cos(angle) + down * np.sin(angle))).astype(np.uint8))[:, None]


def drawn(cases: int = 6, epoch: int = 0) -> Tensor:
    """Keys of the draws of so many cases."""
    return keys(seed=3, epochs=torch.full((cases,), epoch), cases=torch.arange(cases))


def unseen(learner: Learner, *, count: int = 64) -> list[Tensor]:
    """Views of pictures on which no training is made."""
    return learner.views(ramps(count, side=learner.encoder.size, seed=0), drawn(count))


def train(learner: Learner, *, steps: int, lr: float) -> None:
    """Train with eight new pictures in each step."""
    optimiser = torch.optim.AdamW([one for one in learner.parameters() if one.requires_grad], lr=lr)
    side = learner.encoder.size
    for step in range(steps):
        learner.before_step(step=step)
        loss = learner(learner.views(ramps(8, side=side, seed=1 + step), drawn(8, epoch=step)), None)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        learner.after_step(step=step, steps=steps)


def parts_of_others() -> contextlib.AbstractContextManager:
    """While it lasts, what is hidden of a picture is another's."""
    whole = _masking.parts

    def parts(images: Tensor, *, side: int) -> Tensor:
        # only predictions have a gradient
        return whole(images if images.requires_grad else images.roll(1, dims=0), side=side)

    return mock.patch.object(_masking, "parts", parts)
