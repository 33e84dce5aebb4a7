"""Fine-tuning: what a run may learn from, the weights that it starts from, how it is fitted, and its record."""

import importlib.metadata
import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headwater import __version__
from headwater.core.errors import UserError, about, did_you_mean
from headwater.core.fingerprints import RANDOM, sha256
from headwater.data import dropping, splits, store, subsample
from headwater.data.tables import read_origin
from headwater.models import backbones, lora
from headwater.models.encoder import Encoder, Size, count, restore
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet, mapped
from headwater.models.tasks import Task
from headwater.models.weight_files import load_weights, save_weights
from headwater.study.grid import Run
from headwater.study.target import SCORE, Target, fewest, of_numbers
from headwater.training import layers, loop, schedule, validation, views
from headwater.training.ddp import World, device_name
from headwater.training.fitting import Fitting
from headwater.training.mixing import Mixing
from headwater.training.reading.volumes import Masks, masks_of
from headwater.training.seeds import seed_of
from headwater.training.tracking import Trackers


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a run may learn from: no test row is in it."""

    images: Any
    tasks: TaskSet
    training: np.ndarray
    """Rows that are trained on."""
    validation: np.ndarray
    """Rows that choose the kept step."""
    targets: dict[str, Any]
    """Targets of the rows of either, (rows, labels), of several targets by name."""
    split: str
    """The fingerprint of who is in which split."""
    cases: str
    """The fingerprint of the table of cases."""
    lost: dict[str, str]
    """Labels that the chosen share of the patients cannot teach although all of them could, and what they lack."""
    dropped: dict[str, int | str]
    """How many cases were taken out of either split, and the fingerprint of their list; empty without a list."""
    silent: tuple[str, ...] = ()
    """Labels that are known of no validation case, and so have no part in choosing the kept step."""
    preparation: str = ""
    """How the images were prepared, as JSON; empty where the table of cases does not say."""


def material_of(run: Run, data: store.Prepared, *, file: Path, dropped: Path | None = None) -> Material:
    """The rows and targets that the run learns from; refuses what nothing can be learnt from."""
    tasks = _tasks(run, data, file=file)
    read = partial(_targets, tasks, data)
    training = share_of(data, data.rows("train"), fraction=run.recipe.fraction, seed=run.stream)
    validation = data.rows("validation")
    targets = {"train": read(training), "validation": read(validation)}
    taken = {} if dropped is None else _dropped(tasks, data, file=dropped)
    lost = _lost(tasks, read(data.rows("train")), targets["train"])
    if run.source.control == "shuffled":
        targets = {
            split: mapped(partial(shuffled, split=split, seed=run.stream), rows) for split, rows in targets.items()
        }
    _check(run, tasks, targets, file=file)
    if not len(validation):
        raise UserError("has no validation cases", file=file, remedy="raise the archive's validation share")
    return Material(
        images=data.images,
        tasks=tasks,
        training=training,
        validation=validation,
        targets=targets,
        split=splits.digests(data.cases)[splits.ALL],
        cases=sha256(file),
        lost=lost,
        dropped=taken,
        silent=_silent(tasks, targets["validation"]),
        preparation=read_origin(file).get("preparation", ""),
    )


def _dropped(tasks: TaskSet, data: store.Prepared, *, file: Path) -> dict[str, int | str]:
    """How many cases `file` takes out of either split; refuses a label that loses its last positive or negative case.

    The ledger refuses it first, except of labels that only a second reading of the images has.
    """
    taken = {split: data.rows(dropping.OUT + split) for split in ("train", "validation")}
    for split, rows in taken.items():
        left = data.rows(split)
        lost = _lost(tasks, _targets(tasks, data, np.append(left, rows)), _targets(tasks, data, left))
        dropping.refuse_lost(lost, taken=len(rows), part=f"the {split} split")
    return {**{split: len(rows) for split, rows in taken.items()}, "list": sha256(file)}


def _tasks(run: Run, data: store.Prepared, *, file: Path) -> TaskSet:
    """What the run is asked; refuses labels that the cases do not have."""
    for target in run.dataset.asked.values():
        known, word = _known(target, data)
        for label in target.labels:
            if label not in known:
                raise UserError(f"has no {word} {label!r}", file=file, remedy=did_you_mean(label, known))
        if not known:
            raise UserError(f"has no {word}s", file=file, remedy="fit to another archive")
    with about(file):
        return TaskSet(tasks={name: _task(target, data, alone=not name) for name, target in run.dataset.asked.items()})


def _task(target: Target, data: store.Prepared, *, alone: bool) -> Task:
    """A target's task in the form in which the cases put it: all labels if it names none.

    A dataset's only target may ask for some of the archive's classes; several share the labels out between them.
    Grades are judged among themselves, as an archive may have other labels beside them.
    """
    known, _ = _known(target, data)
    if len(target.labels) < (least := fewest(target.task)):
        what = f"the task {target.task} needs {least} labels or more, in their order (got {len(target.labels)})"
        raise UserError(what, remedy="list them all as the dataset's labels, or use the task classification")
    task = Task(name=target.task, labels=target.labels or tuple(known), form="")
    judged = known if alone and not least else list(task.labels)
    learned = np.flatnonzero(data.cases["split"].isin(["train", "validation"]))
    values = task.plugin.targets(data, learned, labels=judged)
    return replace(task, form=task.plugin.form(values, labels=judged, partial=set(task.labels) != set(judged)))


def _known(target: Target, data: store.Prepared) -> tuple[list[str], str]:
    """(what the cases have of what a target may be about, one word for it)."""
    return (data.numbers, "number") if of_numbers(target.task) else (data.labels, "label")


def _targets(tasks: TaskSet, data: store.Prepared, rows: np.ndarray) -> Any:
    """What is to be learned of some rows, (rows, labels), of several targets by name."""
    return tasks.together(tasks.each(lambda task: task.plugin.targets(data, rows, labels=list(task.labels))))


def _silent(tasks: TaskSet, targets: Any) -> tuple[str, ...]:
    """The labels that are known of no row."""
    by_target = tasks.each(
        lambda task, values: [task.labels[at] for at in np.flatnonzero(~np.isfinite(values).any(axis=0))], targets
    )
    return tuple(label for labels in by_target.values() for label in labels)


def _lost(tasks: TaskSet, whole: Any, part: Any) -> dict[str, str]:
    """Labels that a part of the targets can no longer teach although the whole could, and what they lack."""
    by_target = tasks.each(
        lambda task, whole, part: (
            {} if of_numbers(task.name) else subsample.lost(whole, part, labels=list(task.labels))
        ),
        whole,
        part,
    )
    return {label: lacking for lost in by_target.values() for label, lacking in lost.items()}


def _check(run: Run, tasks: TaskSet, targets: dict[str, Any], *, file: Path) -> None:
    """Refuse splits that teach a target no label, or by which none can be scored although the score picks the step."""
    eligible = {
        split: tasks.each(lambda task, values: bool(task.plugin.eligible(values).any()), values)
        for split, values in targets.items()
    }
    for name, task in tasks.tasks.items():
        if not eligible["train"][name]:
            no_label = f"no label of target {name}" if name else "no label"
            raise UserError(
                f"{no_label} {task.plugin.NEEDS} in the train split",
                file=file,
                remedy="choose other labels, or raise fraction",
            )
    for task in tasks.tasks.values() if run.recipe.loss.kind == "asymmetric" else ():
        if task.form == "multiclass":
            raise UserError(
                f"each case bears exactly one of {', '.join(task.labels)}, and the asymmetric loss is of findings side"
                " by side",
                file=file,
                remedy="set loss: focal, or remove it",
            )
    silent = _silent(tasks, targets["validation"])
    if run.recipe.select == "loss" and len(silent) == sum(len(task.labels) for task in tasks.tasks.values()):
        raise UserError(
            "no label is known of any case in the validation split, so no loss can pick a step",
            file=file,
            remedy="raise the archive's validation share, or choose other labels",
        )
    choosing = {name: task for name, task in tasks.tasks.items() if run.recipe.select in (task.plugin.SCORE, SCORE)}
    if choosing and not any(eligible["validation"][name] for name in choosing):
        plugin = next(iter(choosing.values())).plugin
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


def first_weights(run: Run, *, size: Size, encoder: Path | None) -> tuple[Encoder, dict[str, Any]]:
    """The encoder that the run starts from, and the proof of where its weights came from.

    A random start is drawn from the source's name and the seed, so that two random sources differ. A control starts
    from the encoder file of the source that it is made of.
    """
    source = run.source
    if (source.kind == "random") != (encoder is None):
        needs = "no encoder" if source.kind == "random" else "an encoder"
        raise UserError(f"source {source.name!r} is {source.kind} and takes {needs}", remedy="mend --encoder")
    if encoder is None:
        seed = seed_of("encoder", source.name, run.drawn_under)
        drawn = {"seed": seed, "zero_residual": source.initialisation == "zero_residual"}
        network = backbones.build(source.backbone, size=size, mean=source.mean, std=source.std, **drawn)
        return network, {"drawn_under": seed, "initialisation": source.drawn, "tensors": 0, "parameters": 0}
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
    """The encoder with fresh heads, as the recipe fits them."""
    recipe, tasks = run.recipe, material.tasks
    views.of(encoder).check(recipe.views, channels=material.images.shape[1])
    # a target's head is the same whatever stands beside it
    seeds = {name: seed_of("head", *filter(None, [name]), run.stream) for name in tasks.tasks}
    weights = tasks.each(
        lambda task, targets: task.plugin.label_weights(targets, form=task.form, wanted=recipe.class_weights),
        material.targets["train"],
    )
    fitted = {"probe": recipe.kind == "linear_probe", "deep": recipe.deep_supervision}
    return Fitting(
        TaskNetwork(encoder, tasks=tasks, seeds=seeds, **fitted),
        views=recipe.views,
        label_weights=tasks.together(weights),
        frozen=recipe.kind == "linear_probe",
        held=schedule.frozen(recipe, cases=len(material.training)),
        later=(recipe.unfrozen_lr or recipe.training.lr) / recipe.training.lr,
        still=_still(run, encoder=encoder),
        loss=recipe.loss,
        smoothing=recipe.label_smoothing,
        mixing=Mixing(mixup=recipe.mixup, cutmix=recipe.cutmix) if recipe.mixup or recipe.cutmix else None,
    )


def _still(run: Run, *, encoder: Encoder) -> frozenset[str]:
    """What of the encoder never learns, by name: what lies below its last blocks, or all that LoRA does not adapt."""
    if run.recipe.lora:
        how = {"name": encoder.name, "seed": seed_of("lora", run.stream)}
        return lora.adapt(encoder, lora=run.recipe.lora, **how)
    blocks = run.recipe.trained_blocks
    return layers.still(encoder, trained_blocks=blocks) if blocks else frozenset()


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
        targets=learned(material, foreground=run.recipe.foreground),
        training=run.recipe.training,
        seed=run.stream,
        world=world,
        progress=progress,
        identity=identity(run, learner=learner, material=material, origin=origin),
        tracker=tracker,
        validate=partial(validation.validate, material=material, run=run, world=world),
        select=(f"validation/{run.recipe.select}", "min" if run.recipe.select == "loss" else "max"),
    )


def identity(run: Run, *, learner: Fitting, material: Material, origin: dict[str, Any]) -> str:
    """What must be the same for a stopped fine-tuning to go on: its record, and the files that it reads.

    The table of cases has the digest of every image; of volumes the patch counts too.
    """
    size = learner.encoder.size
    patch = [] if isinstance(size, int) else [str(size)]
    dropped = [str(material.dropped["list"])] if material.dropped else []
    return " ".join([run.digest, material.cases, origin.get("sha256", RANDOM), *dropped, *patch])


def learned(material: Material, *, foreground: float) -> Any:
    """What is to be learned of the training rows: targets (rows, labels), or their label maps, by target if several."""
    images, tasks = material.images, material.tasks

    def of_task(task: Task, targets: np.ndarray) -> np.ndarray | Masks:
        return masks_of(images, task, targets, foreground=foreground) if task.outlines else targets

    return tasks.together(tasks.each(of_task, material.targets["train"]))


def save(run: Run, *, learner: Fitting, material: Material, origin: dict[str, Any], path: Path) -> None:
    """Write the fitted network with all that is needed to predict with it, and what it came from.

    What was adapted becomes part of the weights, so that the file is as any other.
    """
    lora.merge(learner.network)
    tensors = {key: tensor.cpu().contiguous() for key, tensor in learner.network.state_dict().items()}
    metadata = {
        **learner.encoder.metadata(),
        "run": run.as_json(),
        **material.tasks.metadata(),
        "encoder": origin.get("sha256", RANDOM),
        "split": material.split,
        **({"preparation": material.preparation} if material.preparation else {}),
        # of pictures that it sees in another size than that in which they are stored
        **({"stored": str(material.images.shape[-1])} if run.dataset.view else {}),
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
    device, tasks = world.device, material.tasks
    return {
        "run": json.loads(run.as_json()),
        "digest": run.digest,
        "identity": identity(run, learner=learner, material=material, origin=origin),
        "steps": fitted.steps,
        "frozen_steps": learner.held,
        "kept_step": fitted.kept_step,
        "score": fitted.score,
        "selected_by": run.recipe.select,
        "stopped_early": fitted.stopped_early,
        **({"accumulate": fitted.parts} if fitted.parts != run.recipe.training.accumulate else {}),
        "rows": {"train": len(material.training), "validation": len(material.validation)},
        "split": material.split,
        "cases": material.cases,
        # what each task has, of several targets by name
        "labels": tasks.together(tasks.each(lambda task: list(task.labels))),
        "lost_by_fraction": material.lost,
        **({"dropped": material.dropped} if material.dropped else {}),
        "labels_shuffled": run.source.control == "shuffled",
        "task": tasks.together(tasks.each(lambda task: task.form)),
        "class_weights": mapped(torch.Tensor.tolist, learner.label_weights),
        "encoder": origin,
        "mean": learner.encoder.normalisation[0],
        "std": learner.encoder.normalisation[1],
        "versions": {"headwater": __version__} | {name: importlib.metadata.version(name) for name in ("torch", "timm")},
        "device": device_name(device),
        **world.record,
    }
