"""Rehearse: a few real optimiser steps of one kind of training, and how long they took."""

import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headwater.core import files, registry
from headwater.data import store
from headwater.models import backbones
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import OF_A_CORPUS, Task
from headwater.planning.timing_profile import Rehearsal
from headwater.study import target as target_of
from headwater.study.recipe import Training
from headwater.study.target import UNNAMED, Target
from headwater.study.tracking import Tracking
from headwater.training import ddp, fitting, loop, scoring
from headwater.training.tracking import Trackers

MOST_READINGS = 100
"""Largest number of readings of the clock."""
STEPS_BETWEEN_READINGS = 5
"""Steps between two readings of the clock, each of which makes the CPU wait for the GPU."""
FEWEST_READINGS = 3
MOST_SCORED_BATCHES = 8
"""Largest number of batches that are scored to time an image, after one that warms up."""


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
    with ddp.world(device=device, threads=threads) as world:
        data = store.read(cases, images=images, seen=rehearsal.seen) if cases and images else None
        pixels, rows, targets = _material(rehearsal, data)
        tasks, targets = _dealt(rehearsal, targets)
        learner = _learner(rehearsal, tasks=tasks, targets=targets)
        began = time.monotonic()
        readings = _time_steps(learner, rehearsal, (pixels, rows, targets), seconds=seconds, world=world)
        network = learner.encoder if rehearsal.recipe is None else learner.network
        seconds_per_image, scored = _time_scoring(network, rehearsal, pixels, rows, seconds=seconds, world=world)
        # the first reading only starts the clock: the steps before it load data and compile kernels
        steps = (len(readings) - 1) * STEPS_BETWEEN_READINGS
        timings = {
            "step": (readings[-1] - readings[0]) / steps,
            "image": seconds_per_image,
            "bytes": sum(tensor.numel() * tensor.element_size() for tensor in learner.encoder.tensors().values()),
            "steps": steps,
            "images": scored,
            "data": "noise" if data is None else "prepared",
            "busy": time.monotonic() - began,
            "device": torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu",
        }
        files.write_json(timings, measured)


def _material(rehearsal: Rehearsal, data: store.Prepared | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(images, rows, targets) of the study's training split, or noise of the same size."""
    if data is not None:
        rows = data.rows("train")
        return data.images, rows, data.targets(rows, data.labels[: rehearsal.labels])
    random = np.random.default_rng(0)
    count = 4 * _batch(rehearsal)
    shape = (count, rehearsal.channels, rehearsal.size, rehearsal.size)
    return (
        random.integers(0, 256, shape, dtype=np.uint8),
        np.arange(count),
        random.integers(0, 2, (count, rehearsal.labels)).astype(np.float32),
    )


def _training(rehearsal: Rehearsal) -> Training:
    """The training with one process' share of the batch, and long enough to be timed."""
    training = rehearsal.recipe.training if rehearsal.recipe else rehearsal.source.training
    # early stopping needs a score, a checkpoint would be timed as well, and the full rate without its warm-up may make
    # the loss NaN
    without = {"epochs": None, "warmup_steps": 0, "patience": None, "save_minutes": 1e6, "lr": 1e-6}
    # a reading takes the place of each validation
    length = {"steps": MOST_READINGS * STEPS_BETWEEN_READINGS, "validations": MOST_READINGS}
    return training.model_copy(update=without | length | {"batch": _batch(rehearsal)})


def _batch(rehearsal: Rehearsal) -> int:
    """One process' share of the batch: processes run side by side, so one of them shows the time of a step."""
    training = rehearsal.recipe.training if rehearsal.recipe else rehearsal.source.training
    return max(1, training.batch // rehearsal.ranks)


def _dealt(rehearsal: Rehearsal, targets: np.ndarray) -> tuple[TaskSet, Any]:
    """(what networks are asked, what is to be learned): columns of targets (rows, labels), dealt out in their order."""
    task = OF_A_CORPUS if rehearsal.recipe is None else rehearsal.task
    labels = tuple(str(position) for position in range(targets.shape[1]))
    asked = target_of.asked(rehearsal.targets, task=task, labels=labels)
    ends = np.cumsum([len(target.labels) for target in asked.values()])
    parts = dict(zip(asked, np.split(targets, ends[:-1], axis=1), strict=True))
    for name, target in asked.items():
        if target_of.fewest(target.task):
            # of grades each case has one, whatever the labels at hand are
            parts[name] = np.eye(len(target.labels), dtype=np.float32)[np.arange(len(targets)) % len(target.labels)]
    tasks = TaskSet(tasks={name: _task(target, parts[name]) for name, target in asked.items()})
    return tasks, tasks.together(parts)


def _task(target: Target, values: np.ndarray) -> Task:
    plugin = registry.load("tasks", target.task)
    return Task(name=target.task, labels=target.labels, form=plugin.form(values))


def _learner(rehearsal: Rehearsal, *, tasks: TaskSet, targets: Any) -> loop.Learner:
    """The learner that the study would train, with random weights."""
    source = rehearsal.source
    encoder = backbones.build(source.backbone, size=rehearsal.size, mean=source.mean, std=source.std, seed=0)
    if rehearsal.recipe is None:
        return registry.load("methods", source.method.name).learner(
            encoder,
            options=registry.chosen("methods", source.method),
            views=source.views,
            size=rehearsal.size,
            labels=rehearsal.labels,
            task=tasks.tasks[UNNAMED],
            targets=targets,
            steps=MOST_READINGS * STEPS_BETWEEN_READINGS,
        )
    weights = tasks.each(
        lambda task, values: task.plugin.label_weights(values, form=task.form, wanted=rehearsal.recipe.class_weights),
        targets,
    )
    return fitting.Fitting(
        TaskNetwork(encoder, tasks=tasks, seeds=dict.fromkeys(tasks.tasks, 0)),
        views=rehearsal.recipe.views,
        label_weights=tasks.together(weights),
        frozen=rehearsal.recipe.kind == "linear_probe",
    )


def _time_steps(
    learner: loop.Learner,
    rehearsal: Rehearsal,
    material: tuple[np.ndarray, np.ndarray, Any],
    *,
    seconds: float,
    world: ddp.World,
) -> list[float]:
    """Readings of the clock, the first of them after the steps of the warm-up."""
    readings: list[float] = []
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-"))
    identity = {"record": rehearsal, "group": "", "name": "", "job": "rehearse", "tracking": Tracking()}
    images, rows, targets = material
    try:
        with Trackers(folder, **identity, world=world) as tracker:
            loop.fit(
                learner,
                images=images,
                rows=rows,
                targets=targets,
                training=_training(rehearsal),
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


def _read_clock(learner: loop.Learner, *, readings: list[float], seconds: float) -> dict[str, float]:
    """Read the clock in place of a validation, and end the training after enough seconds."""
    readings.append(time.monotonic())
    if len(readings) >= FEWEST_READINGS and readings[-1] - readings[0] >= seconds:
        raise Enough
    return {}


def _time_scoring(
    network: torch.nn.Module,
    rehearsal: Rehearsal,
    images: np.ndarray,
    rows: np.ndarray,
    *,
    seconds: float,
    world: ddp.World,
) -> tuple[float, int]:
    """(seconds per scored image, number of scored images)."""
    training = _training(rehearsal)
    score = partial(
        scoring.score, network, images=images, batch=training.batch, world=world, precision=training.precision
    )
    # the first batch warms up, and is not timed
    score(rows=rows[: training.batch])
    began, scored = time.monotonic(), 0
    while scored == 0 or (time.monotonic() - began < seconds and scored < MOST_SCORED_BATCHES * training.batch):
        scored += len(score(rows=np.resize(rows, 2 * training.batch)))
    return (time.monotonic() - began) / scored, scored
