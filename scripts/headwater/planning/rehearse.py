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

LOOKS = 100
"""How often the time is looked at, at most."""
BETWEEN_LOOKS = 5
"""Steps between two looks: a look makes the CPU wait for the GPU."""
FEWEST_LOOKS = 3
SCORED = 8
"""Batches that are scored to time an image, the first of which does not count."""


class Enough(Exception):
    """So many steps were timed that the training may end."""


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
    """Write to MEASURED the seconds of a step and of a scored image, and how long measuring them took.

    --seconds  how long steps are taken, at least; and again at most as long for scoring
    """
    with ddp.world(device=device, threads=threads) as world:
        data = store.read(cases, images=images, seen=rehearsal.seen) if cases and images else None
        pixels, rows, targets = _material(rehearsal, data)
        tasks, targets = _dealt(rehearsal, targets)
        learner = _learner(rehearsal, tasks=tasks, targets=targets)
        began = time.monotonic()
        looks = _steps(learner, rehearsal, (pixels, rows, targets), seconds=seconds, world=world)
        network = learner.encoder if rehearsal.recipe is None else learner.network
        image, scored = _image(network, rehearsal, pixels, rows, seconds=seconds, world=world)
        steps = (len(looks) - 1) * BETWEEN_LOOKS
        told = {
            "step": (looks[-1] - looks[0]) / steps,
            "image": image,
            "bytes": sum(tensor.numel() * tensor.element_size() for tensor in learner.encoder.tensors().values()),
            "steps": steps,
            "images": scored,
            "data": "noise" if data is None else "prepared",
            "busy": time.monotonic() - began,
            "device": torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu",
        }
        files.write_json(told, measured)


def _material(rehearsal: Rehearsal, data: store.Prepared | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(images, rows, targets) of the study's training split, or noise of their size."""
    if data is not None:
        rows = data.rows("train")
        return data.images, rows, data.targets(rows, data.labels[: rehearsal.labels])
    chance = np.random.default_rng(0)
    count = 4 * _batch(rehearsal)
    shape = (count, rehearsal.channels, rehearsal.size, rehearsal.size)
    return (
        chance.integers(0, 256, shape, dtype=np.uint8),
        np.arange(count),
        chance.integers(0, 2, (count, rehearsal.labels)).astype(np.float32),
    )


def _training(rehearsal: Rehearsal) -> Training:
    """The training with this process' share of the batch, and long enough to be timed."""
    training = rehearsal.recipe.training if rehearsal.recipe else rehearsal.source.training
    # early stopping would ask for a score, a save for the disk, and a rate without its warm-up may break the loss
    apart = {"epochs": None, "warmup_steps": 0, "patience": None, "save_minutes": 1e6, "lr": 1e-6}
    length = {"steps": LOOKS * BETWEEN_LOOKS, "validations": LOOKS, "batch": _batch(rehearsal)}
    return training.model_copy(update=apart | length)


def _batch(rehearsal: Rehearsal) -> int:
    training = rehearsal.recipe.training if rehearsal.recipe else rehearsal.source.training
    return max(1, training.batch // rehearsal.ranks)


def _dealt(rehearsal: Rehearsal, targets: np.ndarray) -> tuple[TaskSet, Any]:
    """(what networks are asked, what is to be learned): columns of targets (rows, labels), dealt out in their order."""
    task = OF_A_CORPUS if rehearsal.recipe is None else rehearsal.task
    labels = tuple(str(position) for position in range(targets.shape[1]))
    asked = target_of.asked(rehearsal.targets, task=task, labels=labels)
    ends = np.cumsum([len(target.labels) for target in asked.values()])
    parts = dict(zip(asked, np.split(targets, ends[:-1], axis=1), strict=True))
    tasks = TaskSet(tasks={name: _task(target, parts[name]) for name, target in asked.items()})
    return tasks, tasks.together(parts)


def _task(target: Target, values: np.ndarray) -> Task:
    plugin = registry.load("tasks", target.task)
    return Task(name=target.task, labels=target.labels, form=plugin.form(values))


def _learner(rehearsal: Rehearsal, *, tasks: TaskSet, targets: Any) -> loop.Learner:
    """What the study would train, with random weights."""
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
            steps=LOOKS * BETWEEN_LOOKS,
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


def _steps(
    learner: loop.Learner,
    rehearsal: Rehearsal,
    material: tuple[np.ndarray, np.ndarray, Any],
    *,
    seconds: float,
    world: ddp.World,
) -> list[float]:
    """The clock at every look, once a first stretch of steps has warmed everything up."""
    looks: list[float] = []
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-"))
    named = {"record": rehearsal, "group": "", "name": "", "job": "rehearse", "tracking": Tracking()}
    images, rows, targets = material
    try:
        with Trackers(folder, **named, world=world) as tracker:
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
                validate=partial(_look, looks=looks, seconds=seconds),
            )
    except Enough:
        pass
    finally:
        shutil.rmtree(folder)
    return looks


def _look(learner: loop.Learner, *, looks: list[float], seconds: float) -> dict[str, float]:
    """Note the time in place of a validation, and end the training when there was enough of it."""
    looks.append(time.monotonic())
    if len(looks) >= FEWEST_LOOKS and looks[-1] - looks[0] >= seconds:
        raise Enough
    return {}


def _image(
    network: torch.nn.Module,
    rehearsal: Rehearsal,
    images: np.ndarray,
    rows: np.ndarray,
    *,
    seconds: float,
    world: ddp.World,
) -> tuple[float, int]:
    """(seconds per image scored, how many were), batch after batch until the time is up."""
    training = _training(rehearsal)
    score = partial(
        scoring.score, network, images=images, batch=training.batch, world=world, precision=training.precision
    )
    score(rows=rows[: training.batch])
    began, scored = time.monotonic(), 0
    while scored == 0 or (time.monotonic() - began < seconds and scored < SCORED * training.batch):
        scored += len(score(rows=np.resize(rows, 2 * training.batch)))
    return (time.monotonic() - began) / scored, scored
