"""A loss that is no number: its batches are kept in the training's folder, and a replay names where it comes from."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.core.files import write_json
from headwater.models import compiled
from headwater.study.paths import bad_loss
from headwater.study.replaying import REPLAYED
from headwater.training.checkpoint import print_once
from headwater.training.ddp import World, total

BEFORE = 10
"""How many steps before the replayed one have their losses printed."""

Drawn = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""(epochs, rows of the archive) of the batch of a step, over all ranks; steps are counted from 0."""


def forget(folder: Path, *, world: World) -> None:
    """Remove what an earlier attempt at the training has kept."""
    if world.first:
        bad_loss(folder).unlink(missing_ok=True)


def keep(folder: Path, *, losses: Mapping[int, float], step: int, rate: float, seed: int, drawn: Drawn) -> None:
    """Write the batch of a step, counted from 1, and of the step before: numbers of rows and epochs, and no names.

    `losses` by step, as far as they are known.
    """
    batches = []
    for number in range(max(1, step - 1), step + 1):
        epochs, rows = drawn(number - 1)
        loss = losses.get(number)
        # JSON has no word for a loss that is no number
        told = loss if loss is None or math.isfinite(loss) else str(loss)
        batches.append({"step": number, "loss": told, "epochs": epochs.tolist(), "rows": rows.tolist()})
    write_json({"step": step, "lr": rate, "seed": seed, "batches": batches}, bad_loss(folder))


def replayed() -> int | None:
    """The step, counted from 1, that this process replays; none in a usual training."""
    return int(os.environ[REPLAYED]) if REPLAYED in os.environ else None


@contextmanager
def looked_at(learner: nn.Module, inputs: Any, *, step: int) -> Iterator[Callable[[Tensor], None] | None]:
    """A block with the forward and the backward pass of a step, counted from 1, on these inputs, of each part in turn.

    In a replay of it or of the next step, the first module whose output is not finite is named, and so is what gives
    NaN in the backward pass; then it gives what a loss is told to that does not come from the learner's own call.
    """
    asked = replayed()
    if asked is None or not asked - 1 <= step <= asked:
        yield None
        return
    where = f"step {step}"
    named = ((f"weight {name}", weight) for name, weight in learner.named_parameters())
    for what, values in chain((("the views of the images", each) for each in inputs), named):
        if not _finite(values):
            print_once(f"{where}: not finite before the forward pass: {what}")
            break
    found: list[str] = []

    def look(name: str, module: nn.Module, outputs: Any) -> None:
        if not found and not _finite(outputs):
            found.append(name)
            # the backward pass can only repeat it, and must not end before those of the other ranks
            torch.autograd.set_detect_anomaly(False)
            print_once(f"{where}: the first module with an output that is not finite: {name} ({type(module).__name__})")

    hooks = [
        module.register_forward_hook(lambda module, _, outputs, name=name: look(name or "the loss", module, outputs))
        for name, module in learner.named_modules()
    ]
    try:
        # what is compiled has no modules to look at
        with torch.autograd.set_detect_anomaly(True), compiled.passed_over():
            yield lambda loss: look("the loss", learner, loss)
    except RuntimeError as error:
        if "returned nan values" not in str(error):
            raise
        print_once(f"{where}: the first NaN of the backward pass: {str(error).splitlines()[0]}")
        raise UserError(
            f"the gradients became nan at step {step}", remedy="lower lr, raise warmup_steps, or set clip: 1"
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        print_once(f"{where}: all outputs are finite")


def tell(loss: Tensor, *, step: int, world: World) -> None:
    """In a replay, print the mean loss of a step, counted from 1; refuses to train on if the replayed one is finite."""
    asked = replayed()
    if asked is None or not asked - BEFORE <= step <= asked:
        return
    mean = float(total(loss, world) / world.size)
    print_once(f"step {step}: loss {mean:.6g}")
    if step == asked and math.isfinite(mean):
        raise UserError(
            f"the loss of step {step} is a number here ({mean:.6g})",
            remedy="replay it on a machine of the same kind, with the same compute.ranks and versions of libraries",
        )


def _finite(values: Any) -> bool:
    """Whether all floating-point numbers in tensors, however nested, are finite."""
    if isinstance(values, Tensor):
        return not values.is_floating_point() or bool(values.isfinite().all())
    if isinstance(values, Mapping):
        return all(map(_finite, values.values()))
    return not isinstance(values, list | tuple) or all(map(_finite, values))
