"""The training loop, used for all pre-training and fine-tuning.

A training that is killed at any step, by SIGTERM, Ctrl-C or a power cut, and resumed ends with bit-identical weights
and metrics: random numbers are functions of the step, and everything else is in the checkpoint.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.core.progress import bar
from headwater.models import stochastic_depth
from headwater.models.encoder import Encoder
from headwater.models.recomputed import compares_images
from headwater.models.timm_library import timm
from headwater.study.recipe import Training
from headwater.training import bad_loss, checkpoint, copying, schedule
from headwater.training.batches import Batch, of_step, training_batches
from headwater.training.ddp import STOPPED, World, any_rank, barrier, stop_signals, total
from headwater.training.optimiser_step import learn
from headwater.training.state import State
from headwater.training.tracking import Trackers

LOG_EVERY = 10
"""Steps between two readings of the losses; reading one makes the CPU wait for the GPU."""


class Learner(nn.Module):
    """What the loop trains: networks that compute a loss from augmented views of images.

    Each method defines `views` and `forward`. Its random numbers come only from the keys of the cases or from torch's
    global generator (dropout), which the loop seeds at each step; otherwise a resumed training would differ.
    """

    apart = False
    """Whether no image's loss depends on the others of its batch, but through BatchNorm: then parts may be smaller."""
    compared = False
    """Whether the loss is one of features of a whole batch, which are made part by part: see `training.grad_cache`."""
    together = 1
    """How many images that follow each other in a batch stay on one rank and in one part, as the loss needs them so."""

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """Augmented views of images as their kind is read, determined by the cases' random keys (batch,)."""
        # there are no views that fit every method
        raise NotImplementedError

    def aims(self, targets: Any, keys: Tensor) -> Any:
        """The targets of the views: label maps are placed as their images are; others are as they come."""
        return targets

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """The mean loss over the cases of the batch, so that the mean over ranks is the loss of the whole batch."""
        # nor a loss
        raise NotImplementedError

    @property
    def normalises_parts(self) -> bool:
        """Whether what is made of an image depends on the others of its part, by BatchNorm."""
        return compares_images(self.encoder if self.compared else self)

    @property
    def in_parts(self) -> bool:
        """Whether a batch can be taken in parts: where images are compared, their part must not show in them."""
        return self.apart or (self.compared and not self.normalises_parts)

    def parameter_groups(self, training: Training) -> list[dict]:
        """Parameter groups for the optimiser: all that require gradients.

        Biases, norms, and what a network names itself, such as positions and class tokens, have no weight decay (timm).
        """
        if training.layer_decay is not None:
            raise UserError("layer_decay works only where all layers are fine-tuned", remedy="leave it out")
        spared = [
            f"{place}.{name}"
            for place, module in self.named_modules()
            for name in getattr(module, "no_weight_decay", tuple)()
        ]
        return timm.optim.param_groups_weight_decay(self, training.weight_decay, no_weight_decay_list=spared)

    def compute_twice(self) -> None:
        """Let the backward pass compute the blocks of the encoder a second time, in place of keeping all in them."""
        for module in self.modules():
            if isinstance(module, Encoder):
                module.compute_twice()

    def leave_out_blocks(self, rate: float) -> None:
        """Let the encoder that learns leave out blocks at random in training (stochastic depth)."""
        stochastic_depth.add(self.encoder.backbone, rate=rate, name=self.encoder.name)

    def compile_passes(self) -> None:
        """Let torch compile the passes of the encoders, and whatever else takes long."""
        for module in self.modules():
            if isinstance(module, Encoder):
                module.compile_passes()

    def pace(self, *, step: int) -> float:
        """A factor on the scheduled learning rate of a step; 1 unless overridden."""
        return 1.0

    def before_step(self, *, step: int) -> None:
        """Hook before the forward pass of a step, such as to hold weights that shall not learn yet."""

    def after_step(self, *, step: int, steps: int) -> None:
        """Hook after the optimiser's step, such as to update a moving average; `step` is in range(steps)."""

    def mode(self, training: bool) -> None:
        """Switch between training and evaluation."""
        self.train(training)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The outcome of a training."""

    steps: int
    kept_step: int
    score: float | None
    stopped_early: bool
    parts: int = 1
    """Parts in which each rank took its share of a batch at last."""
    loss: float | None = field(default=None, compare=False)
    """The mean training loss of the last steps; none if there was no step left."""
    waiting: float | None = field(default=None, compare=False)
    """The share of the time that this attempt spent waiting for images."""

    @property
    def kept(self) -> dict[str, float]:
        """The kept step and, where validations chose it, its score."""
        scored = {} if self.score is None else {"kept/score": self.score}
        return {"kept/step": self.kept_step, "kept/of": self.steps, **scored}


def steps(training: Training, *, cases: int) -> int:
    """Optimiser steps of a training on so many cases."""
    return schedule.length(training, cases=cases)


def fit(
    learner: Learner,
    *,
    images: Any,
    rows: np.ndarray,
    targets: Any,
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
    """Train the learner, which then holds the kept weights: those with the best `select` metric, or else the last.

    `images` uint8 (cases, channels, h, w), or volumes; `rows` are trained on, with `targets` float32 (rows, ...) or the
    label maps of volumes, several by name.
    All ranks call `validate`, then `watch`, which may raise an error. SIGTERM and SIGUSR1 save and exit with 143,
    SIGINT (Ctrl-C) with 130.
    """
    _check(learner, rows, training, world)
    last = steps(training, cases=len(rows))
    state = State(learner, training=training, steps=last, world=world)
    validated = schedule.validations(training, steps=last) if validate else set()

    with checkpoint.alone(progress, world=world), stop_signals() as signalled:
        state.resume(checkpoint.load(progress, identity=identity), file=progress)
        tracker.rewind(state.step)
        bad_loss.forget(tracker.folder, world=world)
        state.learner.mode(True)
        unlogged: list[tuple[float, Tensor]] = []
        saved = time.monotonic()
        for batch in _ahead(state, images=images, rows=rows, targets=targets, seed=seed):
            unlogged.append(learn(state, batch, seed=seed))
            # a signal may reach the ranks at different steps; all must stop at the same one
            stopped = any_rank(bool(signalled()), world)
            log_now = stopped or state.step % LOG_EVERY == 0 or state.step in validated or state.step == last
            if log_now:
                _log(unlogged, state=state, tracker=tracker, rows=rows, seed=seed)
            if state.step in validated:
                _validate(state, validate, select=select, watch=watch, tracker=tracker)

            finished = state.out_of_patience or state.step == last
            overdue = world.first and time.monotonic() - saved >= 60 * training.save_minutes
            if log_now and any_rank(finished or stopped or overdue, world):
                _save(state, progress, identity=identity, tracker=tracker)
                saved = time.monotonic()
            if stopped:
                _stop(signalled() or STOPPED, state=state, finished=finished)
            # the batches end by themselves, and then their progress tells the end
            if state.out_of_patience:
                break

    kept_step, score = state.restore_kept()
    outcome = {"kept_step": kept_step, "score": score, "stopped_early": state.step < last, "parts": state.parts}
    ended = {"loss": state.latest.get("loss"), "waiting": state.load.share_of_all}
    return Fitted(steps=state.step, **outcome, **ended)


def _ahead(state: State, *, images: Any, rows: np.ndarray, targets: Any, seed: int) -> Iterator[Batch]:
    """The batches of the steps that are left, on the device, with their progress."""
    left, world = range(state.step, state.step if state.out_of_patience else state.steps), state.world
    read = {"images": images, "rows": rows, "targets": targets, "seed": seed, "together": state.learner.together}
    read |= {"batch": state.training.batch, "reading_order": state.training.reading}
    read_ahead = state.load.waiting(training_batches(left, world=world, **read))
    batches = copying.there(read_ahead, device=world.device)
    if not world.first or not left:
        return batches
    return bar(batches, total=state.steps, what="training", done=state.step, say=state.words)


def _stop(code: int, *, state: State, finished: bool) -> NoReturn:
    """Leave a training that has been told to stop, and has saved its progress."""
    # torchrun kills all ranks once one exits, and the first may still be writing the checkpoint
    barrier(state.world)
    done = "all of it done" if finished else "and saved"
    line = f"training: stopped at step {state.step} of {state.steps}, {done}; the same command goes on from there"
    checkpoint.print_once(line)
    raise SystemExit(code)


def _check(learner: Learner, rows: np.ndarray, training: Training, world: World) -> None:
    """Refuse an empty training set, and a batch that cannot be shared equally, or not without parting what belongs."""
    if not len(rows):
        raise UserError("there is no image to train on", remedy="check the splits, the reduction and the fraction")
    if training.batch % world.size:
        raise UserError(
            f"batch must be a multiple of the {world.size} ranks (got {training.batch})",
            remedy="change batch or compute.ranks",
        )
    if training.accumulate != 1 and learner.compared and not learner.in_parts:
        raise UserError(
            "the images of a batch are compared with each other, and by BatchNorm this network could tell their parts"
            " apart without looking at them",
            remedy="remove accumulate, and lower batch or raise compute.ranks; or take a network with LayerNorm",
        )
    if training.batch % (world.size * training.parts):
        raise UserError(
            f"{training.parts} equal parts cannot be made of the {training.batch // world.size} images of a batch"
            " that each rank has",
            remedy="change batch or accumulate",
        )
    if training.batch % (whole := world.size * training.parts * learner.together):
        raise UserError(
            f"images are mixed in pairs, which {training.batch} images on {world.size} ranks in {training.parts}"
            " parts do not leave together",
            remedy=f"make batch a multiple of {whole}",
        )


def _log(unlogged: list[tuple[float, Tensor]], *, state: State, tracker: Trackers, rows: np.ndarray, seed: int) -> None:
    """Log learning rates and losses (means over the ranks) of the latest steps, and the load; refuses NaN losses."""
    world = state.world
    means = total(torch.stack([loss for _, loss in unlogged]), world) / world.size
    first = state.step - len(unlogged) + 1
    for number, ((rate, _), loss) in enumerate(zip(unlogged, means.tolist(), strict=True), start=first):
        if not math.isfinite(loss):
            if world.first:
                order = {"batch": state.training.batch, "reading_order": state.training.reading}
                drawn = partial(of_step, rows=rows, seed=seed, **order)
                kept = {"losses": dict(enumerate(means.tolist(), start=first)), "step": number, "rate": rate}
                bad_loss.keep(tracker.folder, **kept, seed=seed, drawn=drawn)
            raise UserError(
                f"the loss became {loss} at step {number} with learning rate {rate:.3g}",
                remedy="lower lr, raise warmup_steps, or set clip: 1; `headwater submit one ... --replay` shows where",
            )
        tracker.log(number, {"training/loss": loss, "training/lr": rate})
    state.latest["loss"] = float(means.mean())
    tracker.measured(state.step, state.load.read())
    unlogged.clear()


def _validate(
    state: State,
    validate: Callable[[Learner], dict[str, float]],
    *,
    select: tuple[str, str] | None,
    watch: Callable[[int, dict[str, float]], None] | None,
    tracker: Trackers,
) -> None:
    """Validate the weights (their moving average, if there is one), and keep them if they are the best so far."""
    with state.averaged() as learner:
        learner.mode(False)
        measured = validate(learner)
        learner.mode(True)
        tracker.log(state.step, measured)
        # of several targets the means
        state.latest |= {name.replace("/", " "): value for name, value in measured.items() if name.count("/") == 1}
        if watch:
            watch(state.step, measured)
        state.keep_if_best(measured, select)


def _save(state: State, progress: Path, *, identity: str, tracker: Trackers) -> None:
    """Save a checkpoint, after the metrics."""
    # a resumed training can drop metrics of later steps, but not bring back lost ones
    tracker.flush()
    contents = state.contents()
    if state.world.first:
        checkpoint.save(contents, progress, identity=identity)
