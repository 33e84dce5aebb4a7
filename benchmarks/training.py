"""CPU seconds of a training step, beside timm's and lightly's own loops at the same work, in turns in one run.

    python benchmarks/training.py [--parts finetune dino ...] [--rounds 5] [--steps 6] [--batch 32] [--threads 1]

`finetune` trains all of a ResNet-18 and of a ViT-Tiny at 64 pixels. The peer is a plain loop of timm's network,
optimiser, schedule and transforms (crop, flip, brightness and contrast) over torch's DataLoader. `dino`, `moco`, `mae`
and `simclr` pre-train the same networks with the views of their papers. The peers are made of lightly's modules, losses
and transforms, as in `features.py`, over torch's DataLoader, with the same optimiser. `moco` normalises all images in
one group here, as its peer does.

Seconds are those of this process and all its threads, so decoding ahead is counted, and other processes blur them but
little. Each way's step is the mean over a round, without its first step; ratios are taken round by round.
"""

import argparse
import importlib.util
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from io import StringIO
from itertools import islice
from pathlib import Path
from types import ModuleType

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
# this folder holds a file with the name of a standard module, which nobody else may meet
sys.path[0] = str(HERE.parent / "scripts")

import numpy as np
import pandas as pd
import timm
import timm.data
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from headwater.core import registry
from headwater.core.memory import keep_freed_memory
from headwater.models import backbones
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.study.source import Source
from headwater.study.tracking import Tracking
from headwater.training import ddp, fitting, loop, schedule
from headwater.training.tracking import Trackers

SIDE, LABELS = 64, 4
ALONE = ddp.World(rank=0, size=1, device=torch.device("cpu"))
RESNET, VIT = "resnet18", "vit_tiny_patch16_224"
NETWORKS = {"dino": VIT, "mae": VIT, "moco": RESNET, "simclr": RESNET}
CHANGES = {"crop": 0.35, "flip": 0.5, "brightness": 0.4, "contrast": 0.4}
"""What fine-tuning changes in images, of both."""

Way = Callable[[int], list[float]]
"""A training of so many steps: the CPU seconds of each but the first."""


def sample(cases: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (cases, 3, SIDE, SIDE) of smooth noise, and targets float32 (cases, LABELS)."""
    draw = np.random.default_rng(0)
    coarse = torch.from_numpy(draw.integers(0, 256, (cases, 3, 8, 8)).astype(np.float32))
    images = F.interpolate(coarse, size=SIDE, mode="bicubic").clamp(0, 255).to(torch.uint8).numpy()
    return images, np.eye(LABELS, dtype=np.float32)[np.arange(cases) % LABELS]


def length(steps: int, *, batch: int) -> Training:
    """How all are optimised."""
    return Training(steps=steps, batch=batch, lr=1e-3, weight_decay=0.05)


def between(marks: list[float]) -> list[float]:
    """Seconds from each mark to the next."""
    return np.diff(marks).tolist()


def ours(make: Callable[[int], loop.Learner], *, batch: int, images: np.ndarray, targets: np.ndarray) -> Way:
    """headwater's loop, with the learner that `make` gives for so many steps."""

    def train(steps: int) -> list[float]:
        learner, training, marks = make(steps), length(steps, batch=batch), []
        after = learner.after_step

        def marked(**which: int) -> None:
            after(**which)
            marks.append(time.process_time())

        learner.after_step = marked
        with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):
            place = Path(folder)
            named = {"group": "g", "name": "n", "job": "benchmark", "tracking": Tracking(), "world": ALONE}
            with Trackers(place, record=training, **named) as tracker:
                rows, where = np.arange(len(images)), {"progress": place / "progress.pt", "identity": "this one"}
                given = {"images": images, "rows": rows, "targets": targets, "training": training, "seed": 0}
                loop.fit(learner, **given, **where, world=ALONE, tracker=tracker)
        return between(marks)

    return train


class Pictures:
    """A data set of PIL images with a transform, as timm's and lightly's users have it."""

    def __init__(self, images: np.ndarray, targets: np.ndarray, *, transform: Callable):
        self.images = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]
        self.targets, self.transform = torch.from_numpy(targets), transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple:
        return self.transform(self.images[number]), self.targets[number]


def endless(pictures: Pictures, *, batch: int) -> Iterator:
    """Shuffled full batches, epoch after epoch."""
    while True:
        yield from DataLoader(pictures, batch_size=batch, shuffle=True, drop_last=True)


def plain(
    groups: list[dict], batches: Iterator, *, training: Training, loss: Callable, before: Callable = lambda step: None
) -> list[float]:
    """The marks of a plain loop."""
    optimiser = schedule.optimiser(groups, training)
    rate = schedule.learning_rate(optimiser, training, steps=training.steps)
    marks = []
    for step, (seen, aims) in enumerate(islice(batches, training.steps)):
        rate.step_update(step)
        before(step)
        optimiser.zero_grad()
        loss(seen, aims).backward()
        optimiser.step()
        marks.append(time.process_time())
    return between(marks)


def finetune(asked: argparse.Namespace, name: str) -> tuple[Way, Way, str]:
    """(ours, the peer's, its name)."""
    images, targets = sample(4 * asked.batch)

    def learner(steps: int) -> loop.Learner:
        encoder = backbones.build(f"timm/{name}", size=SIDE, mean=(0.5,), std=(0.25,), seed=0)
        tasks = TaskSet.of(Task(name="classification", labels=tuple("abcd"), form="multilabel"))
        network = TaskNetwork(encoder, tasks=tasks, seeds={"": 0})
        return fitting.Fitting(network, views=Views(**CHANGES), label_weights=torch.ones(LABELS))

    def by_timm(steps: int) -> list[float]:
        sized = {"img_size": SIDE} if name == VIT else {}
        network, training = timm.create_model(name, num_classes=LABELS, **sized), length(steps, batch=asked.batch)
        changed = {"scale": (CHANGES["crop"], 1.0), "hflip": CHANGES["flip"]}
        jitter = (CHANGES["brightness"], CHANGES["contrast"], 0.0)
        transform = timm.data.create_transform(
            SIDE, is_training=True, color_jitter=jitter, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3,
            **changed,
        )  # fmt: skip
        groups = timm.optim.param_groups_weight_decay(network, training.weight_decay)
        batches = endless(Pictures(images, targets, transform=transform), batch=asked.batch)

        def loss(seen: Tensor, aims: Tensor) -> Tensor:
            return F.binary_cross_entropy_with_logits(network(seen), aims)

        network.train()
        return plain(groups, batches, training=training, loss=loss)

    return ours(learner, batch=asked.batch, images=images, targets=targets), by_timm, "timm"


def features() -> ModuleType:
    """The benchmark of features, which has the methods made of lightly's parts."""
    specification = importlib.util.spec_from_file_location("features", HERE / "features.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["features"] = module
    specification.loader.exec_module(module)
    return module


def pretrain(asked: argparse.Namespace, method: str) -> tuple[Way, Way, str]:
    """(ours, the peer's, its name)."""
    images, targets = sample(4 * asked.batch)
    known, name = features(), f"timm/{NETWORKS[method]}"

    def encoder() -> nn.Module:
        return backbones.build(name, size=SIDE, mean=(0.5,), std=(0.25,), seed=0)

    def learner(steps: int) -> loop.Learner:
        training = length(steps, batch=asked.batch).model_dump()
        source = {"name": "x", "backbone": name, "corpus": "c", "training": training, "views": {"like": "photographs"}}
        # one group, since the peer's BatchNorm knows none
        options = known.OPTIONS[method] | ({"group": asked.batch} if method == "moco" else {})
        source = Source.model_validate(source | {"method": {"name": method, "options": options}})
        return registry.load("methods", method).learner(
            encoder(),
            options=registry.chosen("methods", source.method),
            views=source.views,
            size=SIDE,
            labels=LABELS,
            task=Task(name="classification", labels=tuple("abcd"), form="multiclass"),
            targets=targets,
            steps=steps,
        )

    def by_lightly(steps: int) -> list[float]:
        peer = known.PEERS[method](encoder(), steps=steps).train()
        groups = [{"params": [each for each in peer.parameters() if each.requires_grad]}]
        batches = endless(Pictures(images, targets, transform=peer.transform), batch=asked.batch)
        training = length(steps, batch=asked.batch)
        return plain(groups, batches, training=training, loss=peer, before=peer.before)

    return ours(learner, batch=asked.batch, images=images, targets=targets), by_lightly, "lightly"


PARTS = {
    "finetune": [(finetune, RESNET), (finetune, VIT)],
    **{method: [(pretrain, method)] for method in NETWORKS},
}


def row(what: str, here: Way, there: Way, *, peer: str, asked: argparse.Namespace) -> dict[str, str]:
    """A row of the table: the medians over the rounds, in which both take turns at being the first."""
    rounds = []
    for number in range(asked.rounds):
        taken = {}
        for way in (here, there) if number % 2 == 0 else (there, here):
            torch.manual_seed(number)
            taken[way] = float(np.mean(way(asked.steps)))
        rounds.append((taken[here], taken[there], taken[there] / taken[here]))
    one, other, ratio = np.median(rounds, axis=0)
    low, high = np.array(rounds)[:, 2].min(), np.array(rounds)[:, 2].max()
    return {
        "what": what,
        "ours, CPU-s a step": f"{one:.3f}",
        "peer, CPU-s a step": f"{peer} {other:.3f}",
        "peer / ours": f"{ratio:.2f} [{low:.2f}, {high:.2f}]",
    }


def main() -> None:
    """Print a table, of each part as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="of each round, the first of which is not counted")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(asked.threads)
    # as headwater's trainings do; here it serves the peers as well
    keep_freed_memory()
    for part in asked.parts:
        rows = []
        for make, name in PARTS[part]:
            here, there, peer = make(asked, name)
            network = NETWORKS.get(name, name)
            threads = "1 thread" if asked.threads == 1 else f"{asked.threads} threads"
            what = f"{part}, {network}, {asked.batch} images of {SIDE} pixels, {threads}"
            rows.append(row(what, here, there, peer=peer, asked=asked))
        print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
