"""How fast trainings run on one GPU, what each way to make them faster is worth, and whether they wait or go astray.

    python benchmarks/on_gpu.py [--parts finetune methods levers waits resume curves] [--minutes 14] [--out on_gpu.json]
    python benchmarks/on_gpu.py --tiny    # the same with tiny networks, on a CPU too, in seconds

`finetune`: images per second of a ViT-B/16 and a ResNet-50 in bf16, as headwater's loop trains them, reading and views
included. Beside it stand timm's networks in a plain loop whose images lie on the GPU already, ready to be seen: plain,
with channels last, compiled. `methods`: images per second and peak memory of DINO (ViT-S, 2 + 8 views), MoCo v2, SparK
(ResNet-50) and MAE (ViT-B). `levers`: each way to make a step faster, taken away or added alone. `waits`: how often in
a step the CPU waits for the GPU (none is wanted), and the share of the time that is spent waiting for images (under
2 %). `resume`: whether a training that is stopped and resumed ends in the same bytes. `curves`: how far losses in bf16
are from those in fp32.

Each part has a share of the minutes. What fails, or takes longer, becomes a row that says so, and the next part begins.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass, field, replace
from io import StringIO
from itertools import count, islice
from pathlib import Path

# this folder holds a file with the name of a standard module, which nobody else may meet
sys.path[0] = str(Path(__file__).resolve().parent.parent / "scripts")

import numpy as np
import pandas as pd
import timm
import torch
import torch.nn.functional as F

from headwater.core import registry
from headwater.models import backbones, compiled
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.study.source import Source
from headwater.study.tracking import Tracking
from headwater.training import copying, ddp, fitting, loop, optimiser_step
from headwater.training.batches import training_batches
from headwater.training.state import State
from headwater.training.tracking import Trackers

LABELS = 8
VIEWS, STILL = Views(crop=0.35, flip=0.5, brightness=0.4, contrast=0.4), Views()
VIT_B, VIT_S, RESNET = "vit_base_patch16_224", "vit_small_patch16_224", "resnet50"
TINY = {VIT_B: "test_vit", VIT_S: "test_vit", RESNET: "test_resnet"}
METHODS = {"dino": (VIT_S, 128), "moco": (RESNET, 256), "spark": (RESNET, 256), "mae": (VIT_B, 256)}
"""Network and batch of each method."""
TINY_OPTIONS = {
    "dino": {"output_dimension": 64, "hidden_dimension": 32, "bottleneck_dimension": 16, "local_views": 2},
    "moco": {"dimension": 16, "hidden_dimension": 32, "queue": 32, "group": 4},
    "spark": {"decoder_dimension": 64},
    "mae": {"decoder_dimension": 32, "decoder_depth": 1, "decoder_heads": 2},
}
Row = dict[str, object]


class Overtime(Exception):
    """A part has used up its time."""


@dataclass
class Bench:
    """What is trained on, how large, and where."""

    world: ddp.World
    tiny: bool
    folder: Path
    images: np.ndarray = field(init=False)
    targets: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        cases, side = (48, 64) if self.tiny else (4096, 224)
        noise = np.random.default_rng(0).normal(0, 20, (16, 3, side, side))
        path = self.folder / "images.npy"
        written = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(cases, 3, side, side))
        for number, image in enumerate(written):
            # stripes that are the wider the higher the class, in noise
            wave = np.sin(np.arange(side) / (2 + number % LABELS))
            image[:] = (128 + 60 * wave + np.roll(noise[number % 16], number, axis=2)).clip(0, 255)
        written.flush()
        # as trainings read them
        self.images = np.load(path, mmap_mode="r")
        self.targets = np.eye(LABELS, dtype=np.float32)[np.arange(cases) % LABELS]

    @property
    def side(self) -> int:
        return self.images.shape[-1]

    @property
    def on_gpu(self) -> bool:
        return self.world.device.type == "cuda"

    def name(self, network: str) -> str:
        """timm's name of the network, or of a tiny one in its place."""
        return TINY[network] if self.tiny else network

    @property
    def compiling(self) -> ddp.World:
        """The world in which networks are compiled."""
        compiled.prepare(self.world.device)
        return replace(self.world, compiled=True)

    def batch(self, wanted: int) -> int:
        return 8 if self.tiny else wanted

    def done(self) -> float:
        """The time, once the GPU has done all that it was asked."""
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    def fitting(self, network: str, *, views: Views = VIEWS) -> loop.Learner:
        encoder = backbones.build(f"timm/{self.name(network)}", size=self.side, mean=(0.5,), std=(0.25,), seed=0)
        tasks = TaskSet.of(Task(name="classification", labels=tuple("abcdefgh"), form="multiclass"))
        return fitting.Fitting(
            TaskNetwork(encoder, tasks=tasks, seeds={"": 0}), views=views, label_weights=torch.ones(LABELS)
        )

    def method(self, name: str, *, steps: int = 1000) -> tuple[loop.Learner, Training]:
        network, batch = METHODS[name]
        training = Training(steps=steps, batch=self.batch(batch), lr=1e-4)
        source = Source.model_validate(
            {"name": "x", "backbone": f"timm/{self.name(network)}", "corpus": "c", "training": training.model_dump()}
            | {"views": {"like": "photographs"}}
            | {"method": {"name": name, "options": TINY_OPTIONS[name] if self.tiny else {}}}
        )
        learner = registry.load("methods", name).learner(
            backbones.build(source.backbone, size=self.side, mean=(0.5,), std=(0.25,), seed=0),
            options=registry.chosen("methods", source.method),
            views=source.views,
            size=self.side,
            labels=LABELS,
            task=Task(name="classification", labels=tuple("abcdefgh"), form="multiclass"),
            targets=self.targets,
            steps=steps,
        )
        return learner, training


class Going:
    """A training under way, step by step."""

    def __init__(self, bench: Bench, learner: loop.Learner, training: Training, *, world: ddp.World | None = None):
        self.bench = bench
        self.state = State(learner, training=training, steps=training.steps, world=world or bench.world)
        rows, how = np.arange(len(bench.images)), {"batch": training.batch, "seed": 0, "world": bench.world}
        batches = training_batches(count(), images=bench.images, rows=rows, targets=bench.targets, **how)
        self.batches = copying.there(self.state.load.waiting(batches), device=bench.world.device)
        learner.mode(True)

    def steps(self, number: int) -> list[torch.Tensor]:
        """The losses of so many steps, on their device."""
        return [optimiser_step.learn(self.state, batch, seed=0)[1] for batch in islice(self.batches, number)]

    def speed(self, *, seconds: float = 4.0, warm: int = 4) -> Row:
        """Images per second, the peak of memory, and the share of the time that is spent waiting for images."""
        self.steps(1 if self.bench.tiny else warm)
        if self.bench.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        since, done = self.bench.done(), 0
        self.state.load.read()
        while done == 0 or (self.bench.done() - since < seconds and not self.bench.tiny):
            done += len(self.steps(2 if self.bench.tiny else 10))
        taken, batch = self.bench.done() - since, self.state.training.batch
        row: Row = {"images/s": round(batch * done / taken, 1)}
        row["waiting"] = round(self.state.load.read()["machine/waiting"], 4)
        if self.bench.on_gpu:
            row["GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        return row


def with_timm(bench: Bench, network: str, *, batch: int, way: str, seconds: float = 4.0) -> Row:
    """timm's network in a plain loop, its images on the device already."""
    device = bench.world.device
    sized = {"img_size": bench.side} if "vit" in network else {}
    model = timm.create_model(bench.name(network), num_classes=LABELS, **sized).to(device).train()
    images, targets = torch.randn(batch, 3, bench.side, bench.side, device=device), torch.eye(LABELS, device=device)
    targets = targets[torch.arange(batch, device=device) % LABELS]
    if way == "channels last":
        model, images = (each.to(memory_format=torch.channels_last) for each in (model, images))
    if way == "compiled":
        compiled.in_place(model)
    optimiser = timm.optim.create_optimizer_v2(model, opt="adamw", lr=1e-4, weight_decay=0.05)

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = F.cross_entropy(model(images), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    for _ in range(1 if bench.tiny else 4):
        step()
    since, done = bench.done(), 0
    while done == 0 or (bench.done() - since < seconds and not bench.tiny):
        for _ in range(2 if bench.tiny else 10):
            step()
            done += 1
    return {"images/s": round(batch * done / (bench.done() - since), 1)}


# the parts


def finetune(bench: Bench) -> Iterator[Row]:
    for network, wanted in ((VIT_B, 128), (RESNET, 256)):
        training = Training(steps=1000, batch=bench.batch(wanted), lr=1e-4, precision="bf16")
        yield {
            "what": bench.name(network),
            "way": "headwater",
            **Going(bench, bench.fitting(network), training).speed(),
        }
        going = Going(bench, bench.fitting(network), training, world=bench.compiling)
        yield {"what": bench.name(network), "way": "headwater, compiled", **going.speed()}
        for way in ("plain", "channels last", "compiled"):
            yield {
                "what": bench.name(network),
                "way": f"timm, {way}",
                **with_timm(bench, network, batch=training.batch, way=way),
            }


def methods(bench: Bench) -> Iterator[Row]:
    for name, (network, _) in METHODS.items():
        learner, training = bench.method(name)
        yield {"what": f"{name}, {bench.name(network)}", "way": "headwater", **Going(bench, learner, training).speed()}


@contextmanager
def any_algorithm() -> Iterator[None]:
    """A block in which the GPU may take the fastest algorithm, whether or not it computes the same each time."""
    settings = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(settings[0], warn_only=True)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = settings[1], False


@contextmanager
def filled_memory() -> Iterator[None]:
    """A block in which torch fills all that it allocates, as it does by default with deterministic algorithms."""
    before = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = before


@contextmanager
def one_stream() -> Iterator[None]:
    """A block in which batches are copied to the GPU where it computes, each before its step."""
    before, copying.lane_of = copying.lane_of, lambda device: None
    try:
        yield
    finally:
        copying.lane_of = before


def not_fused(going: Going) -> None:
    for group in going.state.optimiser.param_groups:
        group["fused"] = None


def channels_first(going: Going) -> None:
    for parameter in going.state.learner.parameters():
        parameter.data = parameter.data.contiguous()


def levers(bench: Bench) -> Iterator[Row]:
    def going(network: str, wanted: int, *, views: Views = VIEWS, precision: str = "bf16", **how: ddp.World) -> Going:
        training = Training(steps=1000, batch=bench.batch(wanted), lr=1e-4, precision=precision)
        return Going(bench, bench.fitting(network, views=views), training, **how)

    for network, wanted in ((RESNET, 256), (VIT_S, 256)):
        changed: dict[str, tuple[dict, Callable, Callable]] = {
            "as it is": ({}, nullcontext, lambda going: None),
            "optimiser not fused": ({}, nullcontext, not_fused),
            "channels first": ({}, nullcontext, channels_first),
            "memory filled": ({}, filled_memory, lambda going: None),
            "copied in line": ({}, one_stream, lambda going: None),
            "any algorithm": ({}, any_algorithm, lambda going: None),
            "images not changed": ({"views": STILL}, nullcontext, lambda going: None),
            "compiled": ({"world": bench.compiling}, nullcontext, lambda going: None),
            "fp32": ({"precision": "fp32"}, nullcontext, lambda going: None),
            **({"tf32": ({"precision": "tf32"}, nullcontext, lambda going: None)} if bench.on_gpu else {}),
        }
        for way, (settings, block, change) in changed.items():
            training = going(network, wanted, **settings)
            change(training)
            with block():
                yield {"what": bench.name(network), "way": way, **training.speed(seconds=3.0)}


def waited(going: Going) -> Row:
    """How often in a step the CPU waits for the GPU, and in which lines; of three steps."""
    batches = list(islice(going.batches, 3))
    going.bench.done()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for batch in batches:
                optimiser_step.learn(going.state, batch, seed=0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    found = [f"{Path(one.filename).name}:{one.lineno}" for one in told if "synchroniz" in str(one.message)]
    return {"waits/step": len(found) / len(batches), "where": " ".join(sorted(set(found)))}


def waits(bench: Bench) -> Iterator[Row]:
    learners = {network: (bench.fitting(network), None) for network in (VIT_S, RESNET)}
    learners |= {name: bench.method(name) for name in METHODS}
    for name, (learner, training) in learners.items():
        going = Going(bench, learner, training or Training(steps=1000, batch=bench.batch(128), lr=1e-4))
        going.steps(2)
        # a CPU has nothing to wait for
        found = waited(going) if bench.on_gpu else {}
        yield {"what": name, "way": "headwater", **found, **going.speed(seconds=3.0)}


def fitted(bench: Bench, folder: Path, *, method: str, stop_at: int = 0) -> None:
    """A whole training of 12 steps with its files in `folder`; with `stop_at` it is told to stop after that step."""
    learner, training = bench.method(method, steps=12)
    training = training.model_copy(update={"batch": bench.batch(64), "save_minutes": 0.0})
    after = learner.after_step

    def stopping(*, step: int, steps: int) -> None:
        after(step=step, steps=steps)
        if step + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    learner.after_step = stopping
    named = {"group": "g", "name": "n", "job": "benchmark", "tracking": Tracking(), "world": bench.world}
    with redirect_stderr(StringIO()), Trackers(folder, record=training, **named) as tracker:
        given = {"images": bench.images, "rows": np.arange(len(bench.images)), "targets": bench.targets, "seed": 0}
        where = {"progress": folder / "progress.pt", "identity": "this one"}
        loop.fit(learner, training=training, world=bench.world, tracker=tracker, **given, **where)
    weights = {key: tensor.cpu().contiguous() for key, tensor in learner.state_dict().items()}
    torch.save(weights, folder / "weights.pt")


def resume(bench: Bench) -> Iterator[Row]:
    for method in METHODS:
        alone, stopped = bench.folder / method / "alone", bench.folder / method / "stopped"
        fitted(bench, alone, method=method)
        try:
            fitted(bench, stopped, method=method, stop_at=7)
        except SystemExit as left:
            code = left.code
        fitted(bench, stopped, method=method)
        same = (alone / "metrics.csv").read_bytes() == (stopped / "metrics.csv").read_bytes()
        one, other = (torch.load(folder / "weights.pt", weights_only=True) for folder in (alone, stopped))
        equal = all(torch.equal(tensor, other[key]) for key, tensor in one.items())
        yield {"what": method, "way": f"stopped with {code}", "same losses": same, "same weights": equal}


def curves(bench: Bench) -> Iterator[Row]:
    steps = 12 if bench.tiny else 60
    for network in (RESNET, VIT_S):
        told = {}
        for precision in ("fp32", "bf16"):
            training = Training(steps=steps, batch=bench.batch(128), lr=3e-4, warmup_steps=5, precision=precision)
            told[precision] = torch.stack(Going(bench, bench.fitting(network), training).steps(steps)).cpu().numpy()
        apart = np.abs(told["bf16"] - told["fp32"]).mean() / told["fp32"].mean()
        ends = {f"end {name}": round(float(losses[-5:].mean()), 4) for name, losses in told.items()}
        losses = {name: [round(float(loss), 5) for loss in each] for name, each in told.items()}
        yield {
            "what": bench.name(network),
            "apart": round(float(apart), 4),
            "start": losses["fp32"][0],
            **ends,
            "losses": losses,
        }


PARTS: dict[str, tuple[Callable[[Bench], Iterator[Row]], float]] = {
    "waits": (waits, 0.14),
    "resume": (resume, 0.12),
    "methods": (methods, 0.12),
    "finetune": (finetune, 0.28),
    "levers": (levers, 0.22),
    "curves": (curves, 0.1),
}
"""Each part with its share of the minutes; the rest is for starting."""


def told(part: str, make: Callable[[Bench], Iterator[Row]], bench: Bench, *, seconds: float) -> list[Row]:
    """The rows of a part; the last one may say what went wrong."""

    def over(*_: object) -> None:
        raise Overtime(f"its {seconds:.0f} seconds are over")

    rows: list[Row] = []
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        rows.extend({"part": part, **row} for row in make(bench))
    except Exception as error:
        # the GPU is there for minutes, and the other parts must still run
        rows.append({"part": part, "failed": f"{type(error).__name__}: {error}".splitlines()[0][:300]})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return rows


def main(given: list[str] | None = None) -> list[Row]:
    """Print a table of each part as soon as it is known, and write all rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=14)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("on_gpu.json"))
    asked = parser.parse_args(given)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, ddp.world(threads=asked.threads) as world:
        if not (asked.tiny or world.device.type == "cuda"):
            parser.error("there is no GPU; --tiny runs on a CPU")
        if asked.tiny:
            # without a compiler of C++
            compiled.BACKEND = "aot_eager"
        bench = Bench(world=world, tiny=asked.tiny, folder=Path(folder))
        machine = {"device": ddp.device_name(world.device), "torch": torch.__version__, "timm": timm.__version__}
        for part in asked.parts:
            make, share = PARTS[part]
            found = told(part, make, bench, seconds=60 * asked.minutes * share)
            rows += found
            torch._dynamo.reset()
            asked.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))
            shown = pd.DataFrame(found).drop(columns="losses", errors="ignore").astype(object).fillna("")
            print(shown.to_markdown(index=False, disable_numparse=True), end="\n\n", flush=True)
    return rows


if __name__ == "__main__":
    main()
