"""The state of a training: everything that changes from step to step, how it is saved, and which weights are kept."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from headwater.core.errors import UserError
from headwater.models import compiled
from headwater.models.placing import placed
from headwater.models.timm_library import timm
from headwater.study.recipe import Training
from headwater.training import schedule, sharding
from headwater.training.checkpoint import print_once
from headwater.training.ddp import World, any_rank, precision, shared_norms, with_shared_statistics
from headwater.training.machine_load import MachineLoad


class State:
    """A learner with its optimiser, learning rate schedule, exponential moving average and best weights so far."""

    def __init__(self, learner: nn.Module, *, training: Training, steps: int, world: World):
        self.training, self.steps, self.world = training, steps, world
        if world.sharded:
            sharding.check(learner, training, world)
        if training.checkpointing:
            learner.compute_twice()
        if training.drop_path:
            learner.leave_out_blocks(training.drop_path)
        self.given = with_shared_statistics(placed(learner, world.device), world)
        """The learner that is evaluated and kept: that which learns, or the plain one whose shards learn."""
        shards = sharding.Shards(self.given, world) if world.sharded else None
        self.learner = shards.learner if shards else self.given
        self.optimiser = schedule.optimiser(self.learner.parameter_groups(training), training)
        self.rate = schedule.learning_rate(self.optimiser, training, steps=steps)
        self.trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        self.format = precision(training.precision, world.device)
        # small gradients underflow in fp16; bf16 has the exponent range of float32
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=self.format is torch.float16)
        # warm-up lowers the decay in the first steps; else a short training's average would stay near its random start
        self.average = timm.utils.ModelEmaV3(learner, decay=training.ema, use_warmup=True) if training.ema else None
        if shards:
            sharding.empty(self.given)
            if self.average:
                sharding.split(self.average.module, world)
                # one by one: buffers, which are not split, cannot be averaged in one call with what is
                self.average.foreach = False
        self.parallel = shards or (_parallel(learner) if world.size > 1 else learner)
        if world.compiled:
            # last, as the moving average is a copy of the plain learner
            learner.compile_passes()
            for norm in shared_norms(learner):
                # these talk to other ranks in the midst of a pass
                compiled.leave_out(norm)
        self.load = MachineLoad(batch=training.batch, world=world)
        self.step = 0
        self.parts = None if training.accumulate == "auto" else training.accumulate
        """Parts in which a rank takes its share of a batch: more than asked for once a GPU had too little memory, and
        none before they are chosen."""
        self.halved = False
        """Whether it had, which is met once."""
        self.bad_validations = 0
        self.best: dict[str, Any] | None = None
        self.latest: dict[str, float] = {}
        """What was measured last, by name for people."""

    def words(self) -> str:
        """How the training stands, for its progress."""
        waiting = f"{100 * self.load.share:.0f} % of the time waiting for images"
        return ", ".join(
            [*(f"{name} {value:.3g}" for name, value in self.latest.items()), *[waiting] * bool(self.latest)]
        )

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """A context with the given learner, which holds the moving average of its weights, if there is one."""
        self._swap()
        try:
            self._fill(self.learner.state_dict())
            yield self.given
        finally:
            self._swap()
            if self.world.sharded:
                sharding.empty(self.given)

    def _fill(self, tensors: dict[str, Tensor]) -> None:
        """Have the given learner hold these weights, unless it is the one that learns."""
        if self.world.sharded:
            sharding.fill(self.given, tensors)

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange the learner's weights with their moving average."""
        if self.average:
            current, averaged = self.learner.state_dict(), self.average.module.state_dict()
            # copied in place, so that optimiser and DDP go on with the same tensors
            for weight, average in zip(current.values(), averaged.values(), strict=True):
                copy = weight.clone()
                weight.copy_(average)
                average.copy_(copy)

    def keep_if_best(self, measured: dict[str, float], select: tuple[str, str] | None) -> None:
        """Keep the given learner's weights if the metric of `select` is better than before; NaN is never better."""
        if select is None:
            return
        name, direction = select
        value, best = float(measured[name]), self.best["score"] if self.best else None
        better = not math.isnan(value) and (best is None or (value > best if direction == "max" else value < best))
        # the first rank decides for all: a rank that stopped early alone would leave the others waiting
        if any_rank(self.world.first and better, self.world):
            weights = {key: tensor.detach().cpu().clone() for key, tensor in self.given.state_dict().items()}
            self.best = {"weights": weights, "score": value, "step": self.step}
            self.bad_validations = 0
        else:
            self.bad_validations += 1

    @property
    def out_of_patience(self) -> bool:
        """Whether enough validations in a row brought no improvement for early stopping."""
        return self.training.patience is not None and self.bad_validations >= self.training.patience

    def contents(self) -> dict[str, Any]:
        """The contents of a checkpoint; data order, augmentation, dropout and learning rate follow from the step.

        All ranks ask for them; the first gets them whole.
        """
        contents = {
            "step": self.step,
            # of another number BatchNorm and dropout would be others, and it would only be found again on the next GPU
            "parts": self.parts,
            "halved": self.halved,
            "learner": self.learner.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.module.state_dict() if self.average else None,
            "scaler": self.scaler.state_dict(),
            "best": self.best,
            "bad_validations": self.bad_validations,
        }
        return sharding.gathered(contents, self.world) if self.world.sharded else contents

    def resume(self, saved: dict[str, Any] | None, *, file: Path) -> None:
        """Resume from the contents of a checkpoint, on any number of ranks; None starts from the first step."""
        if saved is None:
            return
        try:
            self._load(self.learner, saved["learner"])
            self._resume_optimiser(saved["optimiser"])
            if self.average:
                self._load(self.average.module, saved["average"])
            self.scaler.load_state_dict(saved["scaler"])
        except (KeyError, RuntimeError, ValueError) as error:
            # for example a checkpoint of another version, with other parameter names
            raise UserError(
                f"training checkpoint does not fit this training ({str(error).splitlines()[0]})",
                file=file,
                remedy="delete it; the training then starts from its first step",
            ) from None
        self.step, self.best, self.bad_validations = saved["step"], saved["best"], saved["bad_validations"]
        # a checkpoint of an earlier version does not say
        self.parts, self.halved = saved.get("parts", self.parts), saved.get("halved", self.halved)
        self._check_parts(file)
        more = f", with each batch in {self.parts} parts" if self.parts != self.training.accumulate else ""
        print_once(f"training: resuming from step {self.step} of {self.steps}{more}")

    def _check_parts(self, file: Path) -> None:
        """Refuse to go on with parts that this number of ranks cannot make of a batch."""
        share = self.training.batch // self.world.size
        if share % (self.parts * self.learner.together):
            raise UserError(
                f"this training takes each batch in {self.parts} parts, which cannot be made of the {share} images that"
                f" each of {self.world.size} ranks has",
                file=file,
                remedy="lower compute.ranks; or delete it, and the training starts from its first step",
            )

    def _load(self, network: nn.Module, whole: dict[str, Tensor]) -> None:
        """Load whole weights into a network that learns, or into its average."""
        if self.world.sharded:
            own = network.state_dict()
            whole = {name: sharding.like(own.get(name), tensor) for name, tensor in whole.items()}
        network.load_state_dict(whole)

    def _resume_optimiser(self, saved: dict[str, Any]) -> None:
        """Load the optimiser's state, which may have been saved on another kind of device."""
        for group, own in zip(saved["param_groups"], self.optimiser.param_groups, strict=True):
            # fused kernels take the state in the layout of the parameters, whichever this device prefers
            group.update({"fused": own["fused"]} if "fused" in own else {})
        self.optimiser.load_state_dict(saved)
        for parameter, held in self.optimiser.state.items():
            for name, value in held.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    held[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(sharding.like(parameter, value))

    def restore_kept(self) -> tuple[int, float | None]:
        """Load the kept weights into the learner; (their step, their score)."""
        if self.best is None:
            self._swap()
            self._fill(self.learner.state_dict())
            return self.step, None
        self._fill(self.best["weights"])
        self.given.load_state_dict(self.best["weights"])
        return self.best["step"], self.best["score"]


def _parallel(learner: nn.Module) -> DistributedDataParallel:
    """The learner with its gradients averaged over the ranks (DDP)."""
    # find_unused_parameters also keeps DDP from regrouping gradients after the first step, so the order of sums stays
    # the same and a resumed training is exact on any number of ranks; torch warns once that it costs time.
    # gradient_as_bucket_view: gradients lie where they are sent from, which spares a copy of all of them
    return DistributedDataParallel(learner, find_unused_parameters=True, gradient_as_bucket_view=True)
