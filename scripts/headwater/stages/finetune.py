"""Finetune: a source's network is fitted to a dataset's training split, and the step that validates best is kept."""

import hashlib
import importlib.metadata
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headwater import __version__
from headwater.core import files
from headwater.core.errors import UserError, did_you_mean
from headwater.core.fingerprints import RANDOM, sha256
from headwater.data import splits, store, subsample
from headwater.evaluation.metrics import auroc
from headwater.models import backbones, tasks
from headwater.models.backbones._encoder import Encoder, count, restore
from headwater.models.tasks import classification
from headwater.study.grid import Run
from headwater.study.recipe import Training
from headwater.study.tracking import Tracking
from headwater.training import checkpoint, ddp, fitting, loop, schedule, scoring
from headwater.training.tracking import Tracker

SELECT = {"auroc": ("validation/auroc", "max"), "loss": ("validation/loss", "min")}


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a run may learn from: no test row is in it."""

    images: np.ndarray
    labels: list[str]
    kind: tasks.Kind
    training: np.ndarray
    """Rows that are trained on."""
    validation: np.ndarray
    """Rows that pick the kept step."""
    targets: dict[str, np.ndarray]
    """Targets of the rows of either, (rows, labels)."""
    split: str
    """The fingerprint of who is in which split."""
    cases: str
    """The fingerprint of the table of cases."""
    lost: dict[str, str]
    """Labels that the share of the patients cannot teach and all of them could, and what they lack."""


def finetune(
    *,
    run: Run,
    cases: Path,
    images: Path,
    model: Path,
    fit: Path,
    progress: Path,
    encoder: Path | None = None,
    tracking: Tracking = Tracking(),  # noqa: B008
    threads: int = 1,
    device: ddp.Wanted = "auto",
) -> None:
    """Write the model of a run, its curves beside it, and the record of how it was fitted."""
    began = time.monotonic()
    with ddp.world(threads=threads, device=device) as world:
        data = store.read(cases, images=images, seen=run.dataset.seen)
        material = _material(run, data, file=cases)
        if material.lost and world.first:
            print(_without(material, fraction=run.recipe.fraction), flush=True)
        network, origin = _network(run, size=data.size, encoder=encoder)
        learner = _learner(run, network=network, material=material)
        with Tracker(
            model.parent,
            record=run,
            group=f"{run.dataset.name}/{run.source.name}",
            name=run.path,
            job="finetune",
            tracking=tracking,
            world=world,
        ) as tracker:
            fitted = loop.fit(
                learner,
                images=material.images,
                rows=material.training,
                targets=material.targets["train"],
                training=run.recipe.training,
                seed=run.stream,
                world=world,
                progress=progress,
                identity=" ".join([run.digest, material.cases, origin.get("sha256", RANDOM)]),
                tracker=tracker,
                validate=partial(_validate, material=material, training=run.recipe.training, world=world),
                select=SELECT[run.recipe.select],
            )
        if world.first:
            _write(run, learner=learner, material=material, origin=origin, path=model)
            told = _account(run, material=material, origin=origin, learner=learner, fitted=fitted, world=world)
            files.write_json({**told, "model": sha256(model), "seconds": _since(began)}, fit)
            # our own progress stays: Snakemake may still throw the model away, and have it made again
            if encoder is not None:
                checkpoint.forget(progress.with_name(f"{run.source.original.digest}.pt"))


def _material(run: Run, data: store.Prepared, *, file: Path) -> Material:
    """The rows and targets that the run learns from; refuses what nothing can be learnt from."""
    labels = _labels(run, data.labels, file=file)
    training = _share(data, data.rows("train"), fraction=run.recipe.fraction, seed=run.stream)
    lost = subsample.lost(data.targets(data.rows("train"), labels), data.targets(training, labels), labels=labels)
    validation = data.rows("validation")
    targets = {"train": data.targets(training, labels), "validation": data.targets(validation, labels)}
    if run.source.control == "shuffled":
        targets = {split: _shuffled(rows, split, seed=run.stream) for split, rows in targets.items()}
    whole = data.targets(np.flatnonzero(data.cases["split"].isin(["train", "validation"])), data.labels)
    if not _both_classes(targets["train"]).any():
        raise UserError(
            "no label has both classes in the train split", file=file, remedy="choose other labels, or raise fraction"
        )
    if run.recipe.select == "auroc" and not _both_classes(targets["validation"]).any():
        raise UserError(
            "no label has both classes in the validation split, so no AUROC can pick a step",
            file=file,
            remedy="raise the archive's validation share, or set select: loss",
        )
    if not len(validation):
        raise UserError("has no validation cases", file=file, remedy="raise the archive's validation share")
    return Material(
        images=data.images,
        labels=labels,
        # some of the classes do not exhaust the cases: each is told from the rest
        kind=tasks.kind_of(whole) if set(labels) == set(data.labels) else "multilabel",
        training=training,
        validation=validation,
        targets=targets,
        split=splits.digests(data.cases)[splits.ALL],
        cases=sha256(file),
        lost=lost,
    )


def _without(material: Material, *, fraction: float) -> str:
    """What the share of the patients cannot teach, in a sentence."""
    lacks = "; ".join(f"{label} has {what}" for label, what in material.lost.items())
    return f"finetune: {len(material.training)} cases of a share of {fraction:g} of the training patients: {lacks}"


def _labels(run: Run, known: list[str], *, file: Path) -> list[str]:
    """The run's labels, or all that the cases have."""
    for label in run.dataset.labels:
        if label not in known:
            raise UserError(f"has no label {label!r}", file=file, remedy=did_you_mean(label, known))
    if not known:
        raise UserError("has no labels", file=file, remedy="fit to another archive")
    return list(run.dataset.labels) or known


def _share(data: store.Prepared, rows: np.ndarray, *, fraction: float, seed: int) -> np.ndarray:
    """The rows of a share of the patients; a smaller share of the same seed lies within a larger one."""
    patients, targets = data.cases["patient"].to_numpy()[rows], data.targets(rows, data.labels)
    return rows[subsample.share(patients, targets, fraction=fraction, rank=lambda patient: _number(patient, seed))]


def _shuffled(targets: np.ndarray, split: str, *, seed: int) -> np.ndarray:
    """The same rows of targets, each at another case by chance; what is unknown of a case goes with its row."""
    chance = np.random.Generator(np.random.Philox(_number("shuffle", split, seed)))
    return targets[chance.permutation(len(targets))]


def _both_classes(targets: np.ndarray) -> np.ndarray:
    """For each label, whether it is present in some rows and absent in others."""
    return (targets == 1).any(axis=0) & (targets == 0).any(axis=0)


def _network(run: Run, *, size: int, encoder: Path | None) -> tuple[Encoder, dict[str, Any]]:
    """The encoder that the run starts from, and the proof of where its weights came from.

    A random start is drawn from the source's name and the seed, so that two random sources differ. A control starts
    from the encoder file of the source that it is made of.
    """
    source = run.source
    if (source.kind == "random") != (encoder is None):
        needs = "no encoder" if source.kind == "random" else "an encoder"
        raise UserError(f"source {source.name!r} is {source.kind} and takes {needs}", remedy="mend --encoder")
    if encoder is None:
        seed = _number("encoder", source.name, run.seed)
        network = backbones.build(source.backbone, size=size, mean=source.mean, std=source.std, seed=seed)
        return network, {"drawn_under": seed, "tensors": 0, "parameters": 0}
    tensors, metadata = checkpoint.load_weights(encoder)
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


def _learner(run: Run, *, network: Encoder, material: Material) -> fitting.Fitting:
    """The network with a fresh head, as the recipe fits it."""
    recipe, targets = run.recipe, material.targets["train"]
    return fitting.Fitting(
        classification.Classifier(network, labels=len(material.labels), seed=_number("head", run.stream)),
        views=recipe.views,
        kind=material.kind,
        class_weights=classification.class_weights(targets, kind=material.kind, wanted=recipe.class_weights),
        frozen=recipe.kind == "linear_probe",
        held=schedule.frozen(recipe, cases=len(material.training)),
        later=(recipe.unfrozen_lr or recipe.training.lr) / recipe.training.lr,
    )


def _validate(
    learner: fitting.Fitting, *, material: Material, training: Training, world: ddp.World
) -> dict[str, float]:
    """Loss and macro AUROC (mean over the labels with both classes) on the validation split."""
    logits = scoring.score(
        learner.classifier,
        images=material.images,
        rows=material.validation,
        batch=training.batch,
        world=world,
        precision=training.precision,
    )
    targets = material.targets["validation"]
    lost = classification.loss(logits, torch.from_numpy(targets), learner.class_weights.cpu(), material.kind)
    scores = classification.evidence(logits, material.kind)
    each = [_auroc(targets[:, label], scores[:, label]) for label in np.flatnonzero(_both_classes(targets))]
    return {"validation/loss": float(lost)} | ({"validation/auroc": float(np.mean(each))} if each else {})


def _auroc(target: np.ndarray, score: np.ndarray) -> float:
    """AUROC over the cases whose target is known."""
    known = np.isfinite(target)
    return float(auroc.measure(target[known], score[known], np.ones((1, known.sum()), dtype=np.int64))[0])


def _write(
    run: Run,
    *,
    learner: fitting.Fitting,
    material: Material,
    origin: dict[str, Any],
    path: Path,
) -> None:
    """The fitted network with all that is needed to predict with it, and what it came from."""
    tensors = {key: tensor.cpu().contiguous() for key, tensor in learner.classifier.state_dict().items()}
    described = {"run": run.as_json(), "labels": json.dumps(material.labels), "task": material.kind}
    described |= {"encoder": origin.get("sha256", RANDOM), "split": material.split}
    checkpoint.save_weights(tensors, path, {**learner.encoder.metadata(), **described})


def _account(
    run: Run,
    *,
    material: Material,
    origin: dict[str, Any],
    learner: fitting.Fitting,
    fitted: loop.Fitted,
    world: ddp.World,
) -> dict[str, Any]:
    """How the model came about, for the run's record."""
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
        "labels": material.labels,
        "lost_by_fraction": material.lost,
        "labels_shuffled": run.source.control == "shuffled",
        "task": material.kind,
        "class_weights": learner.class_weights.tolist(),
        "encoder": origin,
        "mean": learner.encoder.normalisation[0],
        "std": learner.encoder.normalisation[1],
        "versions": {"headwater": __version__} | {name: importlib.metadata.version(name) for name in ("torch", "timm")},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "ranks": world.size,
    }


def _since(began: float) -> float:
    """Seconds that have passed."""
    return round(time.monotonic() - began, 3)


def _number(*parts: object) -> int:
    """A number between 0 and 2^63 that stands for the parts."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8]) >> 1
