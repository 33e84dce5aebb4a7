"""Tiny trainings for the tests of the engine; run as a script it is one rank of such a training."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import headwater
import rounding
import warm
from headwater.core.errors import exit_on_user_error
from headwater.models import weight_files
from headwater.study.recipe import Training, Views
from headwater.study.tracking import Tracking
from headwater.training import ddp, loop, scoring
from headwater.training.methods import simclr
from headwater.training.methods._compared import Compared
from headwater.training.tracking import Trackers
from headwater.training.views.pictures import as_float, augment

VIEWS = Views(crop=0.6, flip=0.5, rotation=10, brightness=0.2, noise=0.05)
ALONE = ddp.World(rank=0, size=1, device=torch.device("cpu"))
# as many as the processes have that this one is compared with: sums of floats depend on it
torch.set_num_threads(1)

STEPS = 24

LITTLE = 120_000
"""Bytes in which a step of `Small` in float64 fits for one image at a time, and not for two."""


def pictures(cases: int = 37, *, size: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(images, targets): a bright square for the first label, bright stripes for the second."""
    chance = np.random.default_rng(seed)
    images = chance.integers(0, 120, (cases, 1, size, size), dtype=np.uint8)
    targets = chance.integers(0, 2, (cases, 2)).astype(np.float32)
    images[targets[:, 0] == 1, :, 3:7, 3:7] += 100
    images[targets[:, 1] == 1, :, ::4] += 100
    return images, targets


class Small(loop.Learner):
    """A few convolutions with the norm asked for."""

    def __init__(self, norm: str = "batch", *, dropout: float = 0.0, views: Views = VIEWS):
        super().__init__()
        self.changes = views
        layer = {"batch": nn.BatchNorm2d, "layer": lambda width: nn.GroupNorm(1, width)}[norm]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            self.network = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1, bias=False), layer(8), nn.GELU(), nn.MaxPool2d(2),
                nn.Conv2d(8, 8, 3, padding=1, bias=False), layer(8), nn.GELU(), nn.AdaptiveAvgPool2d(1),
                nn.Flatten(), nn.Dropout(dropout), nn.Linear(8, 2),
            )  # fmt: skip

    def views(self, images, keys):
        return [augment(as_float(images), keys, self.changes)]

    def forward(self, views, targets):
        return F.binary_cross_entropy_with_logits(self.network(views[0]), targets.to(views[0].dtype))


class Paired(Compared, Small):
    """Tells pictures apart by two views of each."""

    def features(self, views):
        return [self.network(view) for view in (views[0], views[0].flip(-1))]

    def loss(self, features, momentum):
        return simclr.nt_xent(*features, temperature=0.5)


class Held(Small):
    """Its first convolution and norm lie still for half of the steps."""

    def before_step(self, *, step):
        self.network[:2].requires_grad_(step >= STEPS // 2)


def paired(**settings) -> Paired:
    """With a norm that keeps pictures apart."""
    learner = Paired("layer", **settings)
    learner.encoder = learner.network
    return learner


LEARNERS = {"batch": Small, "layer": lambda: Small("layer"), "held": Held}


class Doomed(Small):
    """Does something at a step: what kills a training."""

    def __init__(self, *, at: int, deed, **settings):
        super().__init__(**settings)
        self.at, self.deed = at, deed

    def after_step(self, *, step, steps):
        if step + 1 == self.at:
            self.deed()


def recipe(**changes) -> Training:
    """A short training that uses everything that has a state."""
    settings = {
        "steps": STEPS, "batch": 8, "lr": 0.02, "warmup_steps": 5, "ema": 0.9, "clip": 1.0, "validations": 6,
        "save_minutes": 0,
    }  # fmt: skip
    return Training(**settings | changes)


def train(folder: Path, learner: loop.Learner, *, world=ALONE, training=None, **changes) -> loop.Fitted:
    """Fit a learner with all its files below `folder`, its weights among them; `changes` go to the loop."""
    images, targets = pictures()
    training = training or recipe()
    rows, held = np.arange(1, 29), np.arange(29, 37)

    def loss(learner):
        logits = scoring.score(learner.network, images=images, rows=held, batch=5, world=world)
        return {"validation/loss": float(F.binary_cross_entropy_with_logits(logits, torch.from_numpy(targets[held])))}

    with Trackers(
        folder, record=training, group="g", name="n", job="test", tracking=Tracking(), world=world
    ) as tracker:
        settings = {
            "images": images, "rows": rows, "targets": targets[rows], "training": training, "seed": 3, "world": world,
            "progress": folder / "progress.pt", "identity": "this one", "tracker": tracker,
            "validate": loss, "select": ("validation/loss", "min"),
        }  # fmt: skip
        fitted = loop.fit(learner, **settings | changes)
    if world.first:
        weight_files.save_weights(learner.state_dict(), folder / "weights.safetensors", {"kept": str(fitted.kept_step)})
    return fitted


def products(folder: Path) -> tuple[bytes, bytes]:
    """The bytes of all that a training leaves: weights with the kept step, and metrics."""
    return (folder / "weights.safetensors").read_bytes(), (folder / "metrics.csv").read_bytes()


def losses(folder: Path) -> np.ndarray:
    """The training loss of each step."""
    lines = (line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()[1:])
    return np.array([float(value) for _, name, value in lines if name == "training/loss"])


def command(what: str, folder: Path, *, ranks: int = 1, double: bool = False) -> tuple[list[str], dict[str, str]]:
    """(command line, environment) of this page as a process, or under torchrun as several; `double`: in float64."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    library = os.pathsep.join(str(Path(path).parent) for path in (Path(headwater.__file__).parent, rounding.__file__))
    script = [rounding.__file__, __file__] if double else [__file__]
    return [warm.python(), *torchrun, *script, what, str(folder)], {**os.environ, "PYTHONPATH": library}


def several(folder: Path, world: ddp.World) -> None:
    """What two ranks are asked in one start: traces, uneven shares, and a stop that only the last rank hears."""
    for name, learner in LEARNERS.items():
        train(folder / name, learner(), world=world)
    train(folder / "in_parts", Small("layer"), world=world, training=recipe(accumulate=2))
    train(folder / "compared", paired(), world=world, training=recipe(accumulate=2))
    narrow = replace(world, memory=10**9 if world.first else LITTLE)
    chosen = train(folder / "chosen", Small("layer"), world=narrow, training=recipe(accumulate="auto"))
    (folder / f"chosen.{world.rank}").write_text(str(chosen.parts))
    own = torch.arange(ddp.share(5, world).size * 2).view(-1, 2) + 100 * world.rank
    gathered = ddp.gather(own, world)
    images, _ = pictures()
    network = Small().network
    scored = [
        scoring.score(network, images=images, rows=np.array(rows), batch=2, world=world)
        for rows in ([8, 3, 3, 30, 1], [6])
    ]
    if world.first:
        torch.save({"gathered": gathered, "scored": scored}, folder / "told.pt")
    for name in ("resumed", "left_to_one"):
        deed = (lambda: os.kill(os.getpid(), signal.SIGTERM)) if world.rank == world.size - 1 else (lambda: None)
        try:
            train(folder / name, Doomed(at=13, deed=deed), world=world)
        except SystemExit as stopped:
            (folder / f"{name}.{world.rank}").write_text(str(stopped.code))
    train(folder / "resumed", Small(), world=world)


def lacking(folder: Path, world: ddp.World) -> None:
    """A training of which the GPU of the last rank alone has too little memory."""

    class Lacking(Small):
        apart = True

        def forward(self, views, targets):
            if world.rank == world.size - 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
            return super().forward(views, targets)

    with exit_on_user_error("finetune"):
        train(folder, Lacking(), world=world)


def slowly(folder: Path, world: ddp.World) -> None:
    """A training that takes its time, so that it can be met at any moment."""

    class Slow(Small):
        def after_step(self, *, step, steps):
            time.sleep(0.05)

    train(folder, Slow(dropout=0.2), world=world)


if __name__ == "__main__":
    with ddp.world(threads=1) as here:
        {"several": several, "lacking": lacking, "slowly": slowly}[sys.argv[1]](Path(sys.argv[2]), here)
