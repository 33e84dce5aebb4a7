"""Trainings whose weights are split among ranks; run as a script it is one rank of them."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

import fitted_made
from headwater.core.errors import UserError
from headwater.models.timm_library import timm
from headwater.study.recipe import Training
from headwater.study.replaying import REPLAYED
from headwater.training import ddp, loop, scoring
from headwater.training.batches import training_batches
from headwater.training.optimiser_step import learn
from headwater.training.state import State
from test_every_option import images, learner
from test_methods import METHODS, takes
from test_recomputed import trained

VIT, RESNET = "timm/test_vit", "timm/test_resnet"
BLOCKS = 6
"""Of the transformer."""
HOW = {"optimiser": "adamw", "lr": 1e-3, "weight_decay": 0.1}
TRAININGS = {
    **{method: (method, VIT, {}) for method in METHODS if takes(method, VIT)},
    "residual": ("moco_v3", RESNET, {}),
    "sparse": ("spark", RESNET, {}),
    "in parts": ("mae", VIT, {"accumulate": 2}),
    "twice": ("ijepa", VIT, {"checkpointing": True}),
    "averaged": ("simmim", VIT, {"ema": 0.9}),
    "one by one": ("mae", VIT, {"clip_by": "tensor"}),
}
"""(method, network, changes of the training) by name."""
WAYS = {
    "full": {"how": {"accumulate": 2, "checkpointing": True}},
    "by layer": {"how": {"layer_decay": 0.5, "optimiser": "adamw", "lr": 1e-3}},
    "held": {"frozen_steps": 3, "trained_blocks": 2},
    "adapted": {"lora": {"rank": 4, "alpha": 8}},
    "probe": {"kind": "linear_probe"},
}
"""The keys of recipes by name; all have a moving average, and gradients that are clipped."""


def all_trained(folder: Path, world: ddp.World) -> None:
    """Train each of TRAININGS, in a folder of its name, and keep what it leaves."""
    for name, (method, network, changes) in TRAININGS.items():
        _, left = trained(folder / name, learner(method, backbone=network), method, world=world, **HOW, **changes)
        torch.save(left, folder / name / "left.pt")


def fitted(folder: Path, way: str, *, world: ddp.World, after_step: Callable[..., None] | None = None) -> None:
    """Fine-tune by one of WAYS, validated by images that ranks cannot share evenly."""
    keys = WAYS[way]
    made = fitted_made.learner(VIT, **{**keys, "how": fitted_made.training(**keys.get("how", {}))})
    if way == "full":
        # as on a GPU
        projection = made.encoder.backbone.patch_embed.proj
        projection.weight.data = projection.weight.data.to(memory_format=torch.channels_last)
    if after_step:
        made.after_step = after_step
    pictures, targets = fitted_made.pictures()

    def validate(learner: loop.Learner) -> dict[str, float]:
        rows = np.arange(29, 34)
        logits = scoring.score(learner.network, images=pictures, rows=rows, batch=2, world=world)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(targets[rows]).to(logits))
        return {"validation/loss": float(loss)}

    fitted_made.fit(folder, made, world=world, validate=validate, select=("validation/loss", "min"))
    if way == "full":
        assert projection.weight.is_contiguous(memory_format=torch.channels_last)


def stopped(folder: Path, *, world: ddp.World) -> None:
    """A fine-tuning that the last rank is told to stop after half of its steps."""

    def after_step(*, step: int, steps: int) -> None:
        if step + 1 == fitted_made.STEPS // 2 and world.rank == world.size - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        fitted(folder, "full", world=world, after_step=after_step)
    except SystemExit as told:
        assert told.code == ddp.STOPPED
        return
    raise AssertionError("it was not stopped")


def held(world: ddp.World) -> dict[str, int]:
    """Bytes that this rank holds after a step: of the weights of what learns, of its moments, and of the rest."""
    module = learner("dino", backbone=VIT)
    state = State(module, training=Training(steps=2, batch=8, **HOW), steps=2, world=world)
    targets = np.eye(3, dtype=np.float32)[[0] * 8]
    given = {"images": images("dino").numpy(), "rows": np.arange(8), "targets": targets}
    for batch in training_batches(range(1), batch=8, seed=0, world=world, **given):
        learn(state, batch.to(world.device), seed=0)
    moments = [value for of in state.optimiser.state.values() for value in of.values() if value.ndim]
    plain = state.given.parameters() if state.given is not state.learner else []
    return {
        "weights": sum(map(_bytes, state.learner.parameters())),
        "moments": sum(map(_bytes, moments)),
        "plain": sum(weight.untyped_storage().nbytes() for weight in plain),
    }


def _bytes(tensor: Tensor) -> int:
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).nbytes


def units(world: ddp.World) -> int:
    """How many blocks of student and teacher are units of their own."""
    state = State(learner("dino", backbone=VIT), training=Training(steps=2, batch=8, **HOW), steps=2, world=world)
    blocks = [module for module in state.learner.modules() if isinstance(module, timm.models.vision_transformer.Block)]
    return sum(isinstance(block, FSDPModule) for block in blocks)


def replayed(folder: Path, world: ddp.World) -> None:
    """Look closely at the second step of a training, all of whose numbers are finite."""
    os.environ[REPLAYED] = "2"
    try:
        trained(folder / "replayed", learner("mae", backbone=VIT), "mae", world=world, **HOW)
    except UserError as told:
        assert "the loss of step 2 is a number here" in str(told)
        return
    finally:
        del os.environ[REPLAYED]
    raise AssertionError("it trained on")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    with ddp.world(threads=1, fsdp=True) as here:
        own = place / str(here.rank)
        own.mkdir()
        all_trained(own, here)
        for way in WAYS:
            fitted(place / way, way, world=here)
        stopped(place / "stopped", world=here)
        fitted(place / "stopped", "full", world=here)
        stopped(place / "left to one", world=here)
        fitted(place / "left by one", "full", world=here)
        replayed(own, here)
        torch.save({"held": held(here), "units": units(here)}, own / "told.pt")
