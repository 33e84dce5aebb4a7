"""The training loop: every network, pre-trained or fine-tuned, is trained by this page.

A training that is stopped at any step, by SIGTERM or by a power cut, and started again ends in the same weights and the
same table of metrics, bit by bit: nothing random has a state, and everything else is in the progress file.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.core.progress import bar
from headwater.models.timm_library import timm
from headwater.study.recipe import Training
from headwater.training import augment as views
from headwater.training import checkpoint, schedule
from headwater.training.batches import Batch, training_batches
from headwater.training.ddp import World, any_rank, barrier, stop_signals, total
from headwater.training.state import State
from headwater.training.tracking import Trackers

RECORD = 10
"""Steps between two looks at the losses; a look makes the CPU wait for the GPU."""


class Learner(nn.Module):
    """What the loop trains: networks that turn the views of some cases into one loss.

    Each method has `views` and `forward` of its own: one that leaves them out stops here rather than learn nothing.
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
            raise UserError("layer_decay means nothing to what is trained here", remedy="leave it out")
        return timm.optim.param_groups_weight_decay(self, training.weight_decay)

    def pace(self, *, step: int) -> float:
        """A factor on the scheduled learning rate of a step: 1."""
        return 1.0

    def before_update(self, *, step: int) -> None:
        """What happens to the gradients of a step before they are used: nothing."""

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
    targets: np.ndarray | dict[str, np.ndarray],
    training: Training,
    seed: int,
    world: World,
    progress: Path,
    identity: str,
    tracker: Trackers,
    validate: Callable[[Learner], dict[str, float]] | None = None,
    select: tuple[str, Literal["max", "min"]] | None = None,
    watch: Callable[[int, dict[str, float]], None] | None = None,
) -> Fitted:
    """Train the learner, which then holds the kept weights: the best on validation by `select`, else the last.

    `images` uint8 (cases, channels, h, w); `rows` are trained on, with `targets` float32 (rows, ...), several by name.
    All ranks call `validate`, then `watch`, which may refuse what was measured. A stop signal saves and exits with 143.
    """
    _check(rows, training, world)
    last = steps(training, cases=len(rows))
    state = State(learner, training=training, steps=last, world=world)
    validated = schedule.validations(training, steps=last) if validate else set()

    with checkpoint.alone(progress, world=world), stop_signals() as signalled:
        state.take_up(checkpoint.load(progress, identity=identity), file=progress)
        tracker.rewind(state.step)
        learner.mode(True)
        noted: list[tuple[float, Tensor]] = []
        saved = time.monotonic()
        ahead = range(state.step, state.step if state.out_of_patience else last)
        batches = training_batches(
            ahead, images=images, rows=rows, targets=targets, batch=training.batch, seed=seed, world=world
        )
        for batch in bar(batches, total=last, what="training", done=state.step) if world.first and ahead else batches:
            noted.append(_learn(state, batch.to(world.device), seed=seed))
            # one rank may hear the signal a step before the others
            stopped = any_rank(signalled(), world)
            look = stopped or state.step % RECORD == 0 or state.step in validated or state.step == last
            if look:
                _note(noted, step=state.step, tracker=tracker, world=world)
            if state.step in validated:
                _validate(state, validate, select=select, watch=watch, tracker=tracker)

            finished = state.out_of_patience or state.step == last
            overdue = world.first and time.monotonic() - saved >= 60 * training.save_minutes
            if look and any_rank(finished or stopped or overdue, world):
                _save(state, progress, identity=identity, tracker=tracker)
                saved = time.monotonic()
            if stopped:
                # a rank that left now would have the first one killed while it writes
                barrier(world)
                raise SystemExit(143)
            if finished:
                break

    kept_step, score = state.conclude()
    return Fitted(steps=state.step, kept_step=kept_step, score=score, stopped_early=state.step < last)


def _check(rows: np.ndarray, training: Training, world: World) -> None:
    """Refuse what cannot be trained."""
    if not len(rows):
        raise UserError("there is no image to train on", remedy="look at the splits, the reduction and the fraction")
    if training.batch % world.size:
        raise UserError(f"batch {training.batch} is no multiple of {world.size} ranks", remedy="make it one")


def _learn(state: State, batch: Batch, *, seed: int) -> tuple[float, Tensor]:
    """Take one optimiser step; (learning rate, this rank's loss, still on its device)."""
    learner, world = state.learner, state.world
    # dropout and the like: drawn anew from the step's number, so that no generator has to be saved
    draw = np.random.SeedSequence((seed, state.step, world.rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(draw[0]))
    state.rate.step_update(state.step)
    for group in state.optimiser.param_groups:
        group["lr"] *= learner.pace(step=state.step)
    with torch.no_grad():
        keys = views.keys(seed=seed, epochs=batch.epochs, cases=batch.cases)
        seen = learner.views(batch.images, keys)
    with torch.autocast(world.device.type, dtype=state.format, enabled=state.format is not None):
        loss = state.parallel(seen, batch.targets)
    state.scaler.scale(loss).backward()
    learner.before_update(step=state.step)
    if state.training.clip:
        state.scaler.unscale_(state.optimiser)
        nn.utils.clip_grad_norm_(state.trained, state.training.clip)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    state.optimiser.zero_grad(set_to_none=True)
    learner.after_step(step=state.step, steps=state.steps)
    state.step += 1
    if state.average:
        state.average.update(learner, step=state.step)
    return max(group["lr"] for group in state.optimiser.param_groups), loss.detach().float()


def _note(noted: list[tuple[float, Tensor]], *, step: int, tracker: Trackers, world: World) -> None:
    """Log the losses (means over the ranks) of the steps up to `step`; refuses one that is no number."""
    means = total(torch.stack([loss for _, loss in noted]), world) / world.size
    first = step - len(noted) + 1
    for at, ((rate, _), loss) in enumerate(zip(noted, means.tolist(), strict=True), start=first):
        if not math.isfinite(loss):
            raise UserError(
                f"the loss became {loss} at step {at} with learning rate {rate:.3g}",
                remedy="lower lr, raise warmup_steps, or set clip: 1",
            )
        tracker.log(at, {"training/loss": loss, "training/lr": rate})
    noted.clear()


def _validate(
    state: State,
    validate: Callable[[Learner], dict[str, float]],
    *,
    select: tuple[str, str] | None,
    watch: Callable[[int, dict[str, float]], None] | None,
    tracker: Trackers,
) -> None:
    """Score the weights (their moving average, if there is one), and keep them if they are the best so far."""
    with state.averaged():
        state.learner.mode(False)
        measured = validate(state.learner)
        state.learner.mode(True)
        tracker.log(state.step, measured)
        if watch:
            watch(state.step, measured)
        state.judge(measured, select)


def _save(state: State, progress: Path, *, identity: str, tracker: Trackers) -> None:
    """Save the progress, after the metrics that it must not be ahead of."""
    tracker.flush()
    if state.world.first:
        checkpoint.save(state.contents(), progress, identity=identity)
