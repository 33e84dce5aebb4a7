"""The training loop: every network, pre-trained or fine-tuned, is trained by this page.

A training that is stopped at any step, by SIGTERM or by a power cut, and started again ends in the same weights and the
same table of metrics, bit by bit: nothing random has a state, and everything else is in the progress file.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from timm.optim import param_groups_weight_decay
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from headwater.engine import checkpoint, schedule, views
from headwater.engine.batches import Batch, training_batches
from headwater.engine.distributed import (
    World,
    any_rank,
    barrier,
    precision,
    stop_signals,
    total,
    with_shared_statistics,
)
from headwater.engine.tracking import Tracker
from headwater.grid import Training
from headwater.progress import bar
from headwater.refusals import Refusal

RECORD = 10
"""Steps between two looks at the losses; a look makes the CPU wait for the GPU."""


class Learner(nn.Module):
    """What the loop trains: networks that turn the views of some cases into one loss.

    Randomness comes from the keys of the cases and from torch's global generator (dropout), from nowhere else.
    """

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """What the networks see of uint8 images (batch, channels, h, w); keys (batch,) are the cases' chance."""
        raise NotImplementedError

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """The mean loss over the cases of the batch, so that the mean over ranks is the loss of the whole batch."""
        raise NotImplementedError

    def parameter_groups(self, training: Training) -> list[dict]:
        """What is optimised: all that asks for gradients, without weight decay on biases and norms."""
        if training.layer_decay is not None:
            raise Refusal("layer_decay means nothing to what is trained here", remedy="leave it out")
        return param_groups_weight_decay(self, training.weight_decay)

    def after_step(self, *, step: int, steps: int) -> None:
        """What else changes after the optimiser's step number `step` of range(steps): nothing."""

    def mode(self, training: bool) -> None:
        """Switch between training and evaluation."""
        self.train(training)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """How a training went."""

    steps: int
    kept_step: int
    score: float | None
    stopped_early: bool


def steps(training: Training, *, cases: int) -> int:
    """Optimiser steps of a training on so many cases."""
    return schedule.length(training, cases=cases)


def fit(
    learner: Learner,
    *,
    images: np.ndarray,
    rows: np.ndarray,
    targets: np.ndarray,
    training: Training,
    seed: int,
    world: World,
    progress: Path,
    identity: str,
    tracker: Tracker,
    validate: Callable[[Learner], dict[str, float]] | None = None,
    select: tuple[str, Literal["max", "min"]] | None = None,
) -> Fitted:
    """Train the learner, which then holds the kept weights: the best on validation by `select`, else the last.

    `images` uint8 (cases, channels, h, w); `rows` of them are trained on, with `targets` float32 (rows, labels).
    `validate` is called on every rank. A stop signal saves the progress and exits with 143.
    """
    if not len(rows):
        raise Refusal("there is no image to train on", remedy="look at the splits, the reduction and the fraction")
    if training.batch % world.size:
        raise Refusal(f"batch {training.batch} is no multiple of {world.size} ranks", remedy="make it one")
    state = State(learner, training=training, steps=steps(training, cases=len(rows)), seed=seed, world=world)
    validated = schedule.validations(training, steps=state.steps) if validate else set()

    with checkpoint.alone(progress, world=world), stop_signals() as signalled:
        state.take_up(checkpoint.load(progress, identity=identity))
        tracker.rewind(state.step)
        learner.mode(True)
        losses: list[tuple[float, Tensor]] = []
        saved = time.monotonic()
        ahead = range(state.steps if state.out_of_patience else state.step, state.steps)
        batches = training_batches(
            ahead, images=images, rows=rows, targets=targets, batch=training.batch, seed=seed, world=world
        )
        if world.first and ahead:
            batches = bar(batches, total=state.steps, what="training", done=state.step)

        for batch in batches:
            losses.append(state.learn(batch.to(world.device)))

            stopped = any_rank(signalled(), world)
            look = stopped or state.step % RECORD == 0 or state.step in validated or state.step == state.steps
            if look:
                _note(losses, step=state.step, tracker=tracker, world=world)
            if state.step in validated:
                with state.averaged():
                    learner.mode(False)
                    measured = validate(learner)
                    learner.mode(True)
                    tracker.log(state.step, measured)
                    state.judge(measured, select)

            finished = state.out_of_patience or state.step == state.steps
            overdue = world.first and time.monotonic() - saved >= 60 * training.save_minutes
            if finished or (look and any_rank(stopped or overdue, world)):
                tracker.flush()
                if world.first:
                    checkpoint.save(state.contents(), progress, identity=identity)
                saved = time.monotonic()
            if stopped:
                # a rank that left now would have the first one killed while it writes
                barrier(world)
                raise SystemExit(143)
            if finished:
                break
    return state.conclude()


def _note(losses: list[tuple[float, Tensor]], *, step: int, tracker: Tracker, world: World) -> None:
    """Note the losses of the steps up to `step`, means over the ranks, and forget them; refuses what is no number."""
    means = total(torch.stack([loss for _, loss in losses]), world) / world.size
    for earlier, (rate, loss) in enumerate(zip([rate for rate, _ in losses], means.tolist(), strict=True)):
        at = step - len(losses) + 1 + earlier
        if not math.isfinite(loss):
            raise Refusal(
                f"the loss became {loss} at step {at} with learning rate {rate:.3g}",
                remedy="lower lr, raise warmup_steps, or set clip: 1",
            )
        tracker.log(at, {"training/loss": loss, "training/lr": rate})
    losses.clear()


class State:
    """All that changes in a training, and one step of it."""

    def __init__(self, learner: Learner, *, training: Training, steps: int, seed: int, world: World):
        self.training, self.steps, self.seed, self.world = training, steps, seed, world
        self.learner = with_shared_statistics(learner.to(world.device), world)
        self.optimiser = schedule.optimiser(learner.parameter_groups(training), training)
        self.rate = schedule.learning_rate(self.optimiser, training, steps=steps)
        self.trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        self.format = precision(training.precision, world.device)
        # only fp16 has too few exponents for small gradients
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=self.format is torch.float16)
        # in the first steps the average follows closely, else a short training would keep its random start
        self.average = ModelEmaV3(learner, decay=training.ema, use_warmup=True) if training.ema else None
        self.parallel = _parallel(learner, world) if world.size > 1 else learner
        self.step = 0
        self.bad_validations = 0
        self.best: dict[str, Any] | None = None

    def learn(self, batch: Batch) -> tuple[float, Tensor]:
        """Take one optimiser step; (learning rate, this rank's loss)."""
        draw = np.random.SeedSequence((self.seed, self.step, self.world.rank)).generate_state(1, np.uint64)
        torch.manual_seed(int(draw[0]))
        self.rate.step_update(self.step)
        with torch.no_grad():
            keys = views.keys(seed=self.seed, epochs=batch.epochs, cases=batch.cases)
            seen = self.learner.views(batch.images, keys)
        with torch.autocast(self.world.device.type, dtype=self.format, enabled=self.format is not None):
            loss = self.parallel(seen, batch.targets)
        self.scaler.scale(loss).backward()
        if self.training.clip:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.trained, self.training.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        self.learner.after_step(step=self.step, steps=self.steps)
        self.step += 1
        if self.average:
            self.average.update(self.learner, step=self.step)
        return max(group["lr"] for group in self.optimiser.param_groups), loss.detach().float()

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

    def take_up(self, saved: dict[str, Any] | None) -> None:
        """Go on from the contents of a progress file, on any number of ranks."""
        if saved is None:
            return
        self.learner.load_state_dict(saved["learner"])
        self.optimiser.load_state_dict(saved["optimiser"])
        if self.average:
            self.average.module.load_state_dict(saved["average"])
        self.scaler.load_state_dict(saved["scaler"])
        self.step, self.best, self.bad_validations = saved["step"], saved["best"], saved["bad_validations"]

    def conclude(self) -> Fitted:
        """Give the learner the kept weights."""
        self._swap()
        if self.best:
            self.learner.load_state_dict(self.best["weights"])
        return Fitted(
            steps=self.step,
            kept_step=self.best["step"] if self.best else self.step,
            score=self.best["score"] if self.best else None,
            stopped_early=self.step < self.steps,
        )


def _parallel(learner: Learner, world: World) -> DistributedDataParallel:
    """The learner with gradients averaged over the ranks."""
    # looking for unused parameters also keeps the gradients' grouping, and so the order of sums, the same from the
    # first step on: a resumed training is exact on any number of ranks
    warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
    return DistributedDataParallel(learner, find_unused_parameters=True)
