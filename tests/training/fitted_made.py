"""Small fine-tunings by each way of a recipe; run as a script it is one rank of all of them."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

import rounding
from headwater.models import backbones
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.study.grid import Run
from headwater.study.recipe import Training, Views
from headwater.training import ddp, fine_tuning
from headwater.training.fitting import Fitting
from prepared_made import LABELS
from prepared_made import pictures as showing
from training_made import recipe, train

SIZE, STEPS = 32, 8
VIEWS = Views(crop=0.8, brightness=0.1, noise=0.05)
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "smoothed": ("timm/test_resnet", {"label_smoothing": 0.2}),
    "mixed": ("timm/test_resnet", {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1}),
    "focal": ("timm/test_resnet", {"loss": "focal", "class_weights": True}),
    "asymmetric": ("timm/test_resnet", {"loss": {"kind": "asymmetric", "gamma_positive": 1.0}}),
    "last blocks": ("timm/test_resnet", {"trained_blocks": 2, "frozen_steps": 3}),
    "adapted": ("timm/test_vit", {"lora": {"rank": 4, "alpha": 8}, "frozen_steps": 3}),
    "by layer": ("timm/test_convnext", {"how": {"layer_decay": 0.5}}),
}
"""By name: the network, and the keys of the recipe."""


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """(images, targets) of which the first label or two show in a half each, the last as stripes."""
    chance = np.random.default_rng(0)
    targets = chance.integers(0, 2, (37, len(LABELS))).astype(np.float32)
    return showing(targets, size=SIZE, random=chance), targets


def training(**changes) -> Training:
    """Steps in proportion to gradients: the first ones of other optimisers blow up what is rounded."""
    kept = {"steps": STEPS, "warmup_steps": 2, "validations": 2, "optimiser": "sgd", "lr": 0.05, "weight_decay": 0.1}
    return recipe(**kept | changes)


def learner(backbone: str = "timm/test_resnet", *, form: str = "multilabel", how: Training | None = None, **keys):
    """What a run by these keys of a recipe trains."""
    images, targets = pictures()
    run = Run(
        dataset={"name": "made", "archive": "made", "labels": LABELS},
        source={"name": "random", "backbone": backbone},
        recipe={"name": "full", "training": how or training(), "views": VIEWS, **keys},
        seed=0,
    )
    rows, held = np.arange(1, 29), np.arange(29, 37)
    if form == "multiclass":
        targets = np.eye(3, dtype=np.float32)[targets[:, :2].sum(axis=1).astype(int)]
    material = fine_tuning.Material(
        images=images,
        tasks=TaskSet.of(Task(name="classification", labels=LABELS, form=form)),
        **{"training": rows, "validation": held, "targets": {"train": targets[rows], "validation": targets[held]}},
        **{"split": "", "cases": "", "lost": {}, "dropped": {}},
    )
    encoder = backbones.build(backbone, size=SIZE, mean=(0.5,), std=(0.25,), seed=0)
    made = fine_tuning.learner_of(run, encoder=encoder, material=material)
    made.taught, made.how = targets[rows], run.recipe.training
    return made


def fit(folder: Path, made: Fitting, *, world: ddp.World | None = None, **changes):
    """Train it, with its files below the folder."""
    images, _ = pictures()
    where = {"world": world} if world else {}
    rest = {"validate": None, "select": None, "targets": made.taught}
    return train(folder, made, **{"training": made.how, "images": images, **rest, **where, **changes})


def of_way(name: str, **changes) -> Fitting:
    """The learner of one of WAYS; `changes` are of its training."""
    backbone, keys = WAYS[name]
    return learner(backbone, **{**keys, "how": training(**keys.get("how", {}), **changes)})


if __name__ == "__main__":
    with rounding.in_float64(), ddp.world(threads=1) as here:
        for way in WAYS:
            fit(Path(sys.argv[1]) / way, of_way(way), world=here)
