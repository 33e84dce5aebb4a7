"""Fine-tuning: what a run may learn from, the weights that it starts from, how it is validated, and its record."""

import importlib.metadata
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from headwater import __version__
from headwater.core.errors import UserError, did_you_mean
from headwater.core.fingerprints import RANDOM, sha256
from headwater.data import splits, store, subsample
from headwater.models import backbones
from headwater.models.encoder import Encoder, count, restore
from headwater.models.task_network import TaskNetwork
from headwater.models.tasks import Task
from headwater.models.weight_files import load_weights, save_weights
from headwater.study.grid import Run
from headwater.study.recipe import Training
from headwater.training import loop, schedule, scoring
from headwater.training.ddp import World
from headwater.training.fitting import Fitting
from headwater.training.seeds import seed_of
from headwater.training.tracking import Trackers


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a run may learn from: no test row is in it."""

    images: np.ndarray
    task: Task
    training: np.ndarray
    """Rows that are trained on."""
    validation: np.ndarray
    """Rows that choose the kept step."""
    targets: dict[str, np.ndarray]
    """Targets of the rows of either, (rows, labels)."""
    split: str
    """The fingerprint of who is in which split."""
    cases: str
    """The fingerprint of the table of cases."""
    lost: dict[str, str]
    """Labels that the chosen share of the patients cannot teach although all of them could, and what they lack."""


def material_of(run: Run, data: store.Prepared, *, file: Path) -> Material:
    """The rows and targets that the run learns from; refuses what nothing can be learnt from."""
    labels = _labels(run, data.labels, file=file)
    plugin = Task(name=run.dataset.task, labels=tuple(labels), form="").plugin
    read = partial(plugin.targets, data, labels=labels)
    training = share_of(data, data.rows("train"), fraction=run.recipe.fraction, seed=run.stream)
    validation = data.rows("validation")
    targets = {"train": read(training), "validation": read(validation)}
    lost = subsample.lost(read(data.rows("train")), targets["train"], labels=labels)
    if run.source.control == "shuffled":
        targets = {split: shuffled(rows, split, seed=run.stream) for split, rows in targets.items()}
    _check(run, targets, plugin, file=file)
    if not len(validation):
        raise UserError("has no validation cases", file=file, remedy="raise the archive's validation share")
    learned = np.flatnonzero(data.cases["split"].isin(["train", "validation"]))
    form = plugin.form(plugin.targets(data, learned, labels=data.labels), partial=set(labels) != set(data.labels))
    return Material(
        images=data.images,
        task=Task(name=run.dataset.task, labels=tuple(labels), form=form),
        training=training,
        validation=validation,
        targets=targets,
        split=splits.digests(data.cases)[splits.ALL],
        cases=sha256(file),
        lost=lost,
    )


def _labels(run: Run, available: list[str], *, file: Path) -> list[str]:
    """The run's labels, or all that the cases have."""
    for label in run.dataset.labels:
        if label not in available:
            raise UserError(f"has no label {label!r}", file=file, remedy=did_you_mean(label, available))
    if not available:
        raise UserError("has no labels", file=file, remedy="fit to another archive")
    return list(run.dataset.labels) or available


def _check(run: Run, targets: dict[str, np.ndarray], plugin: ModuleType, *, file: Path) -> None:
    """Refuse splits in which no label can be learned, or none can be scored although the score chooses the step."""
    if not plugin.eligible(targets["train"]).any():
        raise UserError(
            f"no label {plugin.NEEDS} in the train split", file=file, remedy="choose other labels, or raise fraction"
        )
    if run.recipe.select == plugin.SCORE and not plugin.eligible(targets["validation"]).any():
        raise UserError(
            f"no label {plugin.NEEDS} in the validation split, so no {plugin.SCORE.upper()} can pick a step",
            file=file,
            remedy="raise the archive's validation share, or set select: loss",
        )


def share_of(data: store.Prepared, rows: np.ndarray, *, fraction: float, seed: int) -> np.ndarray:
    """The rows of a share of the patients; a smaller share of the same seed lies within a larger one."""
    patients, targets = data.cases["patient"].to_numpy()[rows], data.targets(rows, data.labels)
    return rows[subsample.share(patients, targets, fraction=fraction, rank=lambda patient: seed_of(patient, seed))]


def shuffled(targets: np.ndarray, split: str, *, seed: int) -> np.ndarray:
    """The same rows of targets, each at another case by chance; what is unknown of a case goes with its row."""
    chance = np.random.Generator(np.random.Philox(seed_of("shuffle", split, seed)))
    return targets[chance.permutation(len(targets))]


def first_weights(run: Run, *, size: int, encoder: Path | None) -> tuple[Encoder, dict[str, Any]]:
    """The encoder that the run starts from, and the proof of where its weights came from.

    A random start is drawn from the source's name and the seed, so that two random sources differ. A control starts
    from the encoder file of the source that it is made of.
    """
    source = run.source
    if (source.kind == "random") != (encoder is None):
        needs = "no encoder" if source.kind == "random" else "an encoder"
        raise UserError(f"source {source.name!r} is {source.kind} and takes {needs}", remedy="mend --encoder")
    if encoder is None:
        seed = seed_of("encoder", source.name, run.seed)
        network = backbones.build(source.backbone, size=size, mean=source.mean, std=source.std, seed=seed)
        return network, {"drawn_under": seed, "tensors": 0, "parameters": 0}
    tensors, metadata = load_weights(encoder)
    original = source.original
    if metadata.get("digest") != original.digest:
        raise UserError(
            f"is not the encoder of source {original.name!r} ({original.digest})",
            file=encoder,
            remedy="delete it and run its rule again",
        )
    network, interpolated = restore(tensors, metadata, name=source.backbone, size=size, file=encoder)
    loaded = {key: tensors[key] for key in network.expected()}
    proof = {"tensors": len(loaded), "parameters": count(loaded), "interpolated": interpolated}
    return network, {"file": str(encoder), "sha256": sha256(encoder), **proof}


def learner_of(run: Run, *, encoder: Encoder, material: Material) -> Fitting:
    """The encoder with a fresh head, as the recipe fits them."""
    recipe, task = run.recipe, material.task
    return Fitting(
        TaskNetwork(encoder, task=task, seed=seed_of("head", run.stream)),
        task=task,
        views=recipe.views,
        label_weights=task.plugin.label_weights(material.targets["train"], form=task.form, wanted=recipe.class_weights),
        frozen=recipe.kind == "linear_probe",
        held=schedule.frozen(recipe, cases=len(material.training)),
        later=(recipe.unfrozen_lr or recipe.training.lr) / recipe.training.lr,
    )


def fit(
    learner: Fitting,
    *,
    run: Run,
    material: Material,
    origin: dict[str, Any],
    progress: Path,
    tracker: Trackers,
    world: World,
) -> loop.Fitted:
    """Train a run's learner, which then holds the weights of the step that validates best."""
    return loop.fit(
        learner,
        images=material.images,
        rows=material.training,
        targets=material.targets["train"],
        training=run.recipe.training,
        seed=run.stream,
        world=world,
        progress=progress,
        # what must be the same for a stopped fine-tuning to go on
        identity=" ".join([run.digest, material.cases, origin.get("sha256", RANDOM)]),
        tracker=tracker,
        validate=partial(validate, material=material, training=run.recipe.training, world=world),
        select=(f"validation/{run.recipe.select}", "min" if run.recipe.select == "loss" else "max"),
    )


def validate(learner: Fitting, *, material: Material, training: Training, world: World) -> dict[str, float]:
    """The task's loss and score on the validation split."""
    outputs = scoring.score(
        learner.network,
        images=material.images,
        rows=material.validation,
        batch=training.batch,
        world=world,
        precision=training.precision,
    )
    targets, task = material.targets["validation"], material.task
    measured = {"validation/loss": float(learner.loss(outputs, torch.from_numpy(targets)))}
    score = task.plugin.validation_score(task.plugin.evidence(outputs, targets, form=task.form))
    return measured | ({} if score is None else {f"validation/{task.plugin.SCORE}": score})


def save(run: Run, *, learner: Fitting, material: Material, origin: dict[str, Any], path: Path) -> None:
    """Write the fitted network with all that is needed to predict with it, and what it came from."""
    tensors = {key: tensor.cpu().contiguous() for key, tensor in learner.network.state_dict().items()}
    metadata = {
        **learner.encoder.metadata(),
        "run": run.as_json(),
        "labels": json.dumps(material.task.labels),
        "task": material.task.form,
        "encoder": origin.get("sha256", RANDOM),
        "split": material.split,
    }
    save_weights(tensors, path, metadata)


def record_of(
    run: Run,
    *,
    material: Material,
    origin: dict[str, Any],
    learner: Fitting,
    fitted: loop.Fitted,
    world: World,
) -> dict[str, Any]:
    """How the model came about, for fit.json."""
    device = world.device
    return {
        "run": json.loads(run.as_json()),
        "digest": run.digest,
        "steps": fitted.steps,
        "frozen_steps": learner.held,
        "kept_step": fitted.kept_step,
        "score": fitted.score,
        "selected_by": run.recipe.select,
        "stopped_early": fitted.stopped_early,
        "rows": {"train": len(material.training), "validation": len(material.validation)},
        "split": material.split,
        "cases": material.cases,
        "labels": list(material.task.labels),
        "lost_by_fraction": material.lost,
        "labels_shuffled": run.source.control == "shuffled",
        "task": material.task.form,
        "class_weights": learner.label_weights.tolist(),
        "encoder": origin,
        "mean": learner.encoder.normalisation[0],
        "std": learner.encoder.normalisation[1],
        "versions": {"headwater": __version__} | {name: importlib.metadata.version(name) for name in ("torch", "timm")},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "ranks": world.size,
    }
