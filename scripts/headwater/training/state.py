"""The state of a training: all that changes from step to step, what of it is saved, and which weights are kept."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from headwater.core.errors import UserError
from headwater.models.timm_library import timm
from headwater.study.recipe import Training
from headwater.training import schedule
from headwater.training.checkpoint import say
from headwater.training.ddp import World, any_rank, precision, with_shared_statistics


class State:
    """A learner with its optimiser, learning rate, moving average and best weights so far."""

    def __init__(self, learner: nn.Module, *, training: Training, steps: int, world: World):
        self.training, self.steps, self.world = training, steps, world
        self.learner = with_shared_statistics(learner.to(world.device), world)
        self.optimiser = schedule.optimiser(learner.parameter_groups(training), training)
        self.rate = schedule.learning_rate(self.optimiser, training, steps=steps)
        self.trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        self.format = precision(training.precision, world.device)
        # only fp16 has too few exponents for small gradients
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=self.format is torch.float16)
        # in the first steps the average follows closely, else a short training would keep its random start
        self.average = timm.utils.ModelEmaV3(learner, decay=training.ema, use_warmup=True) if training.ema else None
        self.parallel = _parallel(learner) if world.size > 1 else learner
        self.step = 0
        self.bad_validations = 0
        self.best: dict[str, Any] | None = None

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the learner holds the moving average of its weights, if there is one."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange the learner's weights with their average."""
        if self.average:
            ours, theirs = self.learner.state_dict(), self.average.module.state_dict()
            for mine, other in zip(ours.values(), theirs.values(), strict=True):
                kept = mine.clone()
                mine.copy_(other)
                other.copy_(kept)

    def judge(self, measured: dict[str, float], select: tuple[str, str] | None) -> None:
        """Keep the learner's weights if they validate better than all before; NaN is never better."""
        if select is None:
            return
        name, direction = select
        value, best = float(measured[name]), self.best["score"] if self.best else None
        better = not math.isnan(value) and (best is None or (value > best if direction == "max" else value < best))
        # the first rank decides for all: a rank that stopped alone would leave the others waiting
        if any_rank(self.world.first and better, self.world):
            weights = {key: tensor.detach().cpu().clone() for key, tensor in self.learner.state_dict().items()}
            self.best = {"weights": weights, "score": value, "step": self.step}
            self.bad_validations = 0
        else:
            self.bad_validations += 1

    @property
    def out_of_patience(self) -> bool:
        """Whether so many validations in a row were no better that the training stops early."""
        return self.training.patience is not None and self.bad_validations >= self.training.patience

    def contents(self) -> dict[str, Any]:
        """What the progress file holds; order of the data, views, dropout and learning rate follow from the step."""
        return {
            "step": self.step,
            "learner": self.learner.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.module.state_dict() if self.average else None,
            "scaler": self.scaler.state_dict(),
            "best": self.best,
            "bad_validations": self.bad_validations,
        }

    def take_up(self, saved: dict[str, Any] | None, *, file: Path) -> None:
        """Resume from the contents of a progress file, on any number of ranks."""
        if saved is None:
            return
        try:
            self.learner.load_state_dict(saved["learner"])
            self.optimiser.load_state_dict(saved["optimiser"])
            if self.average:
                self.average.module.load_state_dict(saved["average"])
            self.scaler.load_state_dict(saved["scaler"])
        except (KeyError, RuntimeError, ValueError) as error:
            # such as the checkpoint of another version, whose network is spelt otherwise
            raise UserError(
                f"training checkpoint does not fit this training ({str(error).splitlines()[0]})",
                file=file,
                remedy="delete it; the training then starts from its first step",
            ) from None
        self.step, self.best, self.bad_validations = saved["step"], saved["best"], saved["bad_validations"]
        say(f"training: resuming from step {self.step} of {self.steps}")

    def conclude(self) -> tuple[int, float | None]:
        """Give the learner the kept weights; (the step they are of, their score)."""
        if self.best is None:
            self._swap()
            return self.step, None
        self.learner.load_state_dict(self.best["weights"])
        return self.best["step"], self.best["score"]


def _parallel(learner: nn.Module) -> DistributedDataParallel:
    """The learner with gradients averaged over the ranks."""
    # to look for unused parameters also keeps the gradients' grouping, and so the order of sums, the same from the
    # first step on, which makes a resumed training exact on any number of ranks; torch warns once that it costs time
    return DistributedDataParallel(learner, find_unused_parameters=True)
