"""Rehearse: a few real optimiser steps of one kind of training, how long they took, and what memory."""

import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from headwater.core import registry
from headwater.core.files import write_json
from headwater.data import prepared
from headwater.data.volumes import Volumes
from headwater.models import outlines, resizing
from headwater.models.encoder import Encoder
from headwater.models.task_set import TaskSet, mapped
from headwater.planning import noise
from headwater.planning.timing_profile import Rehearsal
from headwater.study.archive import Dataset
from headwater.study.grid import Run
from headwater.study.recipe import Training
from headwater.study.step_memory import StepMemory
from headwater.study.tracking import Tracking
from headwater.training import ddp, fine_tuning, loop, memory, pretraining, scoring
from headwater.training.batches import Batch, training_batches
from headwater.training.reading.volumes import Asked, Masks, value_of
from headwater.training.tracking import Trackers

MOST_READINGS = 100
"""Largest number of readings of the clock."""
STEPS_BETWEEN_READINGS = 5
"""Steps between two readings of the clock, each of which makes the CPU wait for the GPU."""
FEWEST_READINGS = 3
MOST_SCORED_BATCHES = 8
"""Largest number of batches, or of volumes, that are scored to time one, after one that warms up."""

TOLERANCE = 1.0
"""Millimetres within which borders agree; which number it is changes no time."""


class Enough(Exception):
    """Raised to end a training when enough steps were timed."""


def rehearse(
    *,
    rehearsal: Rehearsal,
    measured: Path,
    cases: Path | None = None,
    images: Path | None = None,
    seconds: float = 15.0,
    device: str = "auto",
    threads: int = 1,
) -> None:
    """Write to MEASURED the seconds per step and per scored image, and how long measuring them took.

    --seconds  shortest time for which steps are timed; scoring takes at most as long again
    """
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as place, ddp.world(device=device, threads=threads) as world:
        real = bool(cases and images)
        files = (cases, images) if real else noise.written(rehearsal, Path(place), count=4 * rehearsal.share)
        part = _part(rehearsal, *files)
        began = time.monotonic()
        on_gpu = world.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(world.device)
        readings = _time_steps(part, rehearsal, seconds=seconds, world=world)
        seconds_per_case, scored = _time_scoring(part, rehearsal, seconds=seconds, world=world)
        # the first reading only starts the clock: the steps before it load data and compile kernels
        steps = (len(readings) - 1) * STEPS_BETWEEN_READINGS
        timings = {
            "step": (readings[-1] - readings[0]) / steps,
            "image": seconds_per_case,
            "bytes": sum(tensor.numel() * tensor.element_size() for tensor in part.encoder.tensors().values()),
            "steps": steps,
            "images": len(scored),
            "data": "prepared" if real else "noise",
            "windows": _windows(part, rehearsal, scored),
            "borders": _time_borders(part, scored, seconds=seconds),
            "memory": torch.cuda.max_memory_allocated(world.device) if on_gpu else None,
            "busy": time.monotonic() - began,
            "device": torch.cuda.get_device_name(world.device) if on_gpu else "cpu",
        }
        write_json(timings, measured)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is timed: a learner and what it learns from, as the training would put them together."""

    learner: loop.Learner
    encoder: Encoder
    network: nn.Module
    """What is scored."""
    images: Any
    rows: np.ndarray
    targets: Any
    tasks: TaskSet | None = None
    """What is measured of whole volumes."""


def memory_of(rehearsal: Rehearsal) -> StepMemory:
    """What a step of a kind of training takes, from two small batches of noise that a CPU computes.

    In `auto` precision it is that of a GPU with bf16; fp16 takes as much.
    """
    fewer = _few_images(rehearsal)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as place, ddp.world(device="cpu", threads=1) as world:
        part = _part(rehearsal, *noise.written(rehearsal, Path(place), count=2 * fewer))
        return memory.measured(
            part.learner,
            tuple(_noise(part, count, world=world) for count in (fewer, 2 * fewer)),
            training=_training(rehearsal),
            steps=MOST_READINGS * STEPS_BETWEEN_READINGS,
            format=None if rehearsal.training.precision == "fp32" else torch.bfloat16,
        )


def _few_images(rehearsal: Rehearsal) -> int:
    """A number of images that each method and network can learn from."""
    if rehearsal.recipe is None and (option := registry.option("methods", rehearsal.source.method.name, means="group")):
        return getattr(registry.chosen("methods", rehearsal.source.method), option)
    # BatchNorm has no variance over a single pooled image; a patch of a volume is large, and has many values
    name = rehearsal.source.method.name if rehearsal.recipe is None else ""
    alone = rehearsal.recipe or not registry.constant("methods", name, "COMPARED", default=False)
    # images are mixed in pairs
    mixed = rehearsal.recipe and (rehearsal.recipe.mixup or rehearsal.recipe.cutmix)
    return 1 if alone and not mixed and _patch(rehearsal) is not None else 2


def _noise(part: Part, count: int, *, world: ddp.World) -> Batch:
    """A batch of so many cases."""
    places = np.resize(np.arange(len(part.rows)), max(len(part.rows), count))
    cases = {"rows": part.rows[places], "targets": mapped(partial(_repeated, places=places), part.targets)}
    batches = training_batches(range(1), images=part.images, batch=count, seed=0, world=world, **cases)
    return next(iter(batches)).to(world.device)


def _part(rehearsal: Rehearsal, cases: Path, images: Path) -> Part:
    """What is rehearsed, on prepared cases or on noise."""
    return (_pretraining if rehearsal.recipe is None else _fine_tuning)(rehearsal, cases, images)


def _fine_tuning(rehearsal: Rehearsal, cases: Path, images: Path) -> Part:
    """A fine-tuning of all training cases; the loss chooses the step, for which a few cases of noise are enough."""
    recipe = {"training": _training(rehearsal), "fraction": 1.0, "select": "loss"}
    asked = {"task": rehearsal.task, "labels": rehearsal.listed, "targets": rehearsal.targets}
    run = Run(
        dataset=Dataset(name="any", archive="any", seen=rehearsal.seen, view=rehearsal.view, **asked),
        source=rehearsal.source,
        recipe=rehearsal.recipe.model_copy(update=recipe),
        seed=0,
    )
    data = prepared.read(cases, images=images, seen=rehearsal.seen, patch=_patch(rehearsal))
    material = fine_tuning.material_of(run, data, file=cases)
    encoder, _ = fine_tuning.first_weights(run, size=data.seen_in(rehearsal.view), encoder=None)
    learner = fine_tuning.learner_of(run, encoder=encoder, material=material)
    return Part(
        **{"learner": learner, "encoder": encoder, "images": data.images},
        network=resizing.taking(data.size, learner.network, size=encoder.size),
        rows=material.training,
        targets=fine_tuning.learned(material, foreground=run.recipe.foreground),
        tasks=material.tasks,
    )


def _pretraining(rehearsal: Rehearsal, cases: Path, images: Path) -> Part:
    """A pre-training on all training cases, from random weights."""
    source = rehearsal.source.model_copy(update={"start": None, "training": _training(rehearsal)})
    size, seen = rehearsal.view or rehearsal.size, {"seen": rehearsal.seen, "view": rehearsal.view}
    corpus = pretraining.corpus_of(cases, images, size=size, **seen)
    rows = corpus.rows("train")
    encoder = pretraining.first_weights(source, size=size, start=None)
    network = resizing.taking(corpus.size, encoder, size=encoder.size)
    learner = pretraining.learner_of(source, corpus, rows, encoder=encoder)
    targets = corpus.targets(rows, corpus.labels)
    return Part(learner=learner, encoder=encoder, network=network, images=corpus.images, rows=rows, targets=targets)


def _patch(rehearsal: Rehearsal) -> tuple[int, ...] | None:
    """The sides of what is seen of volumes; none of pictures."""
    return None if isinstance(rehearsal.size, int) else rehearsal.size


def _training(rehearsal: Rehearsal) -> Training:
    """The training with one process' share of the batch, and long enough to be timed."""
    # early stopping needs a score, a checkpoint would be timed as well, and the full rate without its warm-up may make
    # the loss NaN
    without = {"epochs": None, "warmup_steps": 0, "patience": None, "save_minutes": 1e6, "lr": 1e-6}
    # a reading takes the place of each validation
    length = {"steps": MOST_READINGS * STEPS_BETWEEN_READINGS, "validations": MOST_READINGS}
    return rehearsal.training.model_copy(update=without | length | {"batch": rehearsal.share})


def _time_steps(part: Part, rehearsal: Rehearsal, *, seconds: float, world: ddp.World) -> list[float]:
    """Readings of the clock, the first of them after the steps of the warm-up."""
    readings: list[float] = []
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-"))
    identity = {"record": rehearsal, "group": "", "name": "", "job": "rehearse", "tracking": Tracking()}
    training = _training(rehearsal)
    # a batch may be larger than the few volumes of noise
    places = np.resize(np.arange(len(part.rows)), max(len(part.rows), training.batch))
    try:
        with Trackers(folder, **identity, world=world) as tracker:
            loop.fit(
                part.learner,
                images=part.images,
                rows=part.rows[places],
                targets=mapped(partial(_repeated, places=places), part.targets),
                training=training,
                seed=0,
                world=world,
                progress=folder / "progress.pt",
                identity="rehearsal",
                tracker=tracker,
                validate=partial(_read_clock, readings=readings, seconds=seconds),
            )
    except Enough:
        pass
    finally:
        shutil.rmtree(folder)
    return readings


def _repeated(targets: np.ndarray | Masks, *, places: np.ndarray) -> np.ndarray | Masks:
    """The targets of rows that occur more than once."""
    return replace(targets, known=targets.known[places]) if isinstance(targets, Masks) else targets[places]


def _read_clock(learner: loop.Learner, *, readings: list[float], seconds: float) -> dict[str, float]:
    """Read the clock in place of a validation, and end the training after enough seconds."""
    readings.append(time.monotonic())
    if len(readings) >= FEWEST_READINGS and readings[-1] - readings[0] >= seconds:
        raise Enough
    return {}


def _time_scoring(part: Part, rehearsal: Rehearsal, *, seconds: float, world: ddp.World) -> tuple[float, np.ndarray]:
    """(seconds per scored image or volume, the rows that were scored), as a validation scores them."""
    training, volumes = _training(rehearsal), _patch(rehearsal) is not None
    # a volume of its own is as much work as a batch of pictures
    pace, asked = (1, part.tasks and Asked(tasks=part.tasks, surfaces=False)) if volumes else (training.batch, None)
    how = {"images": part.images, "batch": training.batch, "world": world, "precision": training.precision}
    score = partial(scoring.score, part.network, **how, asked=asked)
    # the first batch warms up, and is not timed; the largest volume shows how much memory is needed
    score(rows=_largest(part)[:pace])
    began, scored = time.monotonic(), part.rows[:0]
    while not len(scored) or (time.monotonic() - began < seconds and len(scored) < MOST_SCORED_BATCHES * pace):
        rows = part.rows[np.arange(len(scored), len(scored) + 2 * pace) % len(part.rows)]
        score(rows=rows)
        scored = np.append(scored, rows)
    return (time.monotonic() - began) / len(scored), scored


def _largest(part: Part) -> np.ndarray:
    """The rows that are trained on, of volumes the largest one first."""
    if not isinstance(part.images, Volumes):
        return part.rows
    return part.rows[np.argsort([-int(part.images.sides(row).prod()) for row in part.rows.tolist()], kind="stable")]


def _windows(part: Part, rehearsal: Rehearsal, rows: np.ndarray) -> float:
    """The mean number of windows in which the volumes of these rows are scored; 0 of pictures."""
    if not isinstance(part.images, Volumes):
        return 0.0
    return float(np.mean([rehearsal.scored_in(part.images.sides(row).tolist()) for row in rows.tolist()]))


def _time_borders(part: Part, rows: np.ndarray, *, seconds: float) -> float:
    """Further seconds per case that distances between borders take in a prediction, of outlines a voxel too far.

    An untrained network draws borders everywhere, which would take many times as long as a trained network's.
    """
    if part.tasks is None or not any(task.outlines for task in part.tasks.tasks.values()):
        return 0.0
    labels = [label for task in part.tasks.tasks.values() if task.outlines for label in task.labels]
    values = [value_of(part.images, label) for label in labels]
    spent, done = 0.0, 0
    for row in rows.tolist():
        reference, spacing = part.images.reference(row), part.images.source_spacing(row)
        began = time.monotonic()
        for value in values:
            real = reference == value
            outlines.measure(np.roll(real, 1, axis=0), real, spacing=spacing, tolerance=TOLERANCE)
        spent, done = spent + time.monotonic() - began, done + 1
        if spent >= seconds:
            break
    return spent / done
