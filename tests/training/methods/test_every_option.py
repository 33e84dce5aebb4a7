"""Every key of `views`, of each method's options and of `training` changes what is computed: none is taken and ignored.

The keys are enumerated from the records, so a new one without another value here fails.
"""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import training_made
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.models.timm_library import timm
from headwater.study.recipe import OF_COLOURS, OF_VOLUMES, Training, Views
from headwater.training import checkpoint, fitting
from headwater.training.loop import Learner
from headwater.training.views import draws, pictures
from test_methods import FIRST, METHODS, SIDE, SMALL

STEPS = 4
BATCH = 8
VIEWS = {
    "crop": 0.3,
    "flip": 0.5,
    "rotation": 20,
    "elastic": 0.9,
    "elastic_displacement": 0.1,
    "resampling": "bicubic",
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.8,
    "hue": 0.3,
    "jitter": 0.5,
    "grey": 0.6,
    "blur": 0.8,
    "solarise": 0.8,
    "noise": 0.2,
}
TRIED = {
    "barlow_twins": {"dimension": 8, "hidden_dimension": 16, "redundancy": 0.5, "crop": 0.3},
    "byol": {"dimension": 8, "hidden_dimension": 16, "target_momentum": 0.5, "crop": 0.3},
    "dino": {
        "output_dimension": 32,
        "hidden_dimension": 16,
        "bottleneck_dimension": 8,
        "batch_norm": True,
        "normalise_last_layer": False,
        "frozen_last_layer": 0.9,
        "student_temperature": 0.2,
        "teacher_temperature": 0.2,
        "first_teacher_temperature": 0.02,
        "warmup": 1.0,
        "centre_momentum": 0.1,
        "teacher_momentum": 0.5,
        "global_crop": 0.3,
        "local_views": 1,
        "local_crop": (0.2, 0.3),
        "local_size": 0.9,
    },
    "ibot": {
        "output_dimension": 32,
        "hidden_dimension": 16,
        "bottleneck_dimension": 8,
        "untied_heads": True,
        "normalise_last_layer": True,
        "frozen_last_layer": 0.9,
        "student_temperature": 0.2,
        "teacher_temperature": 0.2,
        "first_teacher_temperature": 0.02,
        "warmup": 1.0,
        "centre_momentum": 0.1,
        "teacher_momentum": 0.5,
        "mask": (0.2, 0.3),
        "masked_views": 0.3,
        "koleo": 0.1,
        "global_crop": 0.3,
        "local_views": 1,
        "local_crop": (0.2, 0.3),
        "local_size": 0.9,
    },
    "ijepa": {
        "targets": 2,
        "target_scale": (0.3, 0.4),
        "target_ratio": (0.3, 0.4),
        "context_scale": (0.5, 0.6),
        "context_limit": 0.2,
        "predictor_dimension": 16,
        "predictor_depth": 2,
        "predictor_heads": 4,
        "target_momentum": 0.5,
        "loss": "l2",
    },
    "mae": {"mask": 0.5, "decoder_dimension": 16, "decoder_depth": 2, "decoder_heads": 4, "normalise": False},
    "moco": {
        "dimension": 8, "hidden_dimension": 16, "temperature": 0.5, "queue": 16, "momentum": 0.5, "group": 2,
        "crop": 0.3,
    },
    "moco_v3": {
        "dimension": 8, "hidden_dimension": 16, "temperature": 0.5, "momentum": 0.5, "frozen_patches": False,
        "crop": 0.3,
    },
    "simclr": {"dimension": 8, "hidden_dimension": 16, "temperature": 0.1, "crop": 0.3},
    "simmim": {"mask": 0.3, "mask_side": 32},
    "spark": {"mask": 0.25, "decoder_dimension": 32, "normalise": False},
    "supervised": {"class_weights": True},
    "swav": {
        "prototypes": 8,
        "dimension": 8,
        "hidden_dimension": 16,
        "temperature": 0.5,
        "epsilon": 0.2,
        "iterations": 1,
        "frozen_prototypes": 0.9,
        "queue": 16,
        "queue_starts": 1.0,
        "large_views": 3,
        "large_crop": (0.5, 0.8),
        "small_views": 1,
        "small_crop": (0.2, 0.3),
        "small_size": 0.9,
    },
    "vicreg": {
        "dimension": 8, "hidden_dimension": 16, "invariance": 10, "variance": 10, "covariance": 10, "crop": 0.3,
    },
}  # fmt: skip
BESIDE = {"swav": {"queue": 8, "queue_starts": 0.0}, "moco": {"queue": 8}, "ibot": {"warmup": 0.5}}
"""What makes the other options matter within a few steps."""
NETWORKS = {"frozen_patches": "timm/test_vit"}
"""Networks on which options matter that have no effect on others."""

TRAINED = {
    "steps": 12, "batch": 4, "optimiser": "sgd", "lr": 0.01, "momentum": 0.5, "weight_decay": 0.5,
    "schedule": "constant", "warmup_steps": 2, "final_lr": 0.01, "ema": 0.5, "clip": 0.01, "precision": "bf16",
    "validations": 3, "patience": 1, "save_minutes": 60.0, "accumulate": 2, "betas": (0.5, 0.9),
    "final_weight_decay": 0.9, "clip_by": "tensor", "reading": "sharded",
}  # fmt: skip
ELSEWHERE = {"epochs", "layer_decay", "checkpointing", "drop_path"}
"""Keys of `training` with a test of their own, below, in test_recomputed.py or in test_stochastic_depth.py."""


def learner(
    method: str,
    *,
    views: Views = Views(),  # noqa: B008
    backbone: str | None = None,
    **options: object,
) -> Learner:
    """A tiny learner of a method."""
    side = SIDE.get(method, 32)
    form = registry.options("methods", method)
    return registry.load("methods", method).learner(
        backbones.build(backbone or FIRST[method], size=side, mean=(0.5,), std=(0.25,), seed=0),
        options=form(**{**SMALL[method], **BESIDE.get(method, {}), **options}),
        views=views,
        size=side,
        labels=3,
        task=Task(name="classification", labels=("a", "b", "c"), form="multilabel"),
        targets=np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 2, 0, 0]],
        steps=STEPS,
    )


def images(method: str) -> torch.Tensor:
    """Pictures in colour, so that dropping the colours shows."""
    side = SIDE.get(method, 32)
    return torch.randint(0, 256, (BATCH, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def seen(module: Learner, method: str) -> list[torch.Tensor]:
    """What the learner makes of the pictures."""
    cases = torch.arange(BATCH)
    return module.views(images(method), draws.keys(seed=1, epochs=torch.zeros_like(cases), cases=cases))


def outcome(module: Learner, method: str) -> list[float]:
    """The losses of a few steps, and the sum of all weights after them."""
    targets = torch.from_numpy(np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 2, 0, 0]])
    groups = module.parameter_groups(Training(steps=STEPS, batch=BATCH))
    for group in groups:
        group.pop("always_adapt", None)
    optimiser, losses = torch.optim.SGD(groups, lr=0.05), []
    for step in range(STEPS):
        torch.manual_seed(step)
        module.before_step(step=step)
        with torch.no_grad():
            views = seen(module, method)
        loss = module(views, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        module.after_step(step=step, steps=STEPS)
        losses.append(loss.item())
    return [*losses, sum(parameter.detach().double().sum().item() for parameter in module.parameters())]


@cache
def usual(method: str, backbone: str | None = None) -> list[float]:
    """The outcome without a change."""
    return outcome(learner(method, backbone=backbone), method)


def test_every_key_has_another_value_here():
    # `like` stands for others, and is gone before views are made
    assert set(VIEWS) | set(OF_VOLUMES) | {"like"} == set(Views.model_fields)
    assert set(TRIED) == set(METHODS)
    for method in METHODS:
        assert set(TRIED[method]) == set(registry.options("methods", method).model_fields), method
    assert set(TRAINED) | ELSEWHERE == set(Training.model_fields)


@pytest.mark.parametrize("method", METHODS)
def test_a_few_steps_repeat_to_the_bit(method: str):
    # else any change below would seem to have an effect
    assert outcome(learner(method), method) == usual(method)


@pytest.mark.parametrize("key", VIEWS)
@pytest.mark.parametrize("method", METHODS)
def test_every_key_of_views_changes_what_a_method_sees(method: str, key: str):
    beside = {
        "jitter": {"hue": 0.5}, "elastic_displacement": {"elastic": 0.9}, "resampling": {"rotation": 20},
    }.get(key, {})  # fmt: skip
    before, after = (seen(learner(method, views=Views(**beside, **more)), method) for more in ({}, {key: VIEWS[key]}))
    assert not all(map(torch.equal, before, after))


@pytest.mark.parametrize("method", METHODS)
def test_two_crops_are_two_and_none_is_the_published_one(method: str):
    wide, narrow, usual_crop = (seen(learner(method, views=views), method)[0] for views in map(Views.model_validate, (
        {"crop": 1.0}, {"crop": 0.3}, {}
    )))  # fmt: skip
    assert not torch.equal(wide, narrow)
    option = registry.option("methods", method, means="crop")
    if option is None:
        assert torch.equal(wide, usual_crop)
    else:
        value = (0.3, 1.0) if method == "swav" else 0.3
        assert torch.equal(narrow, seen(learner(method, **{option: value}), method)[0])
        assert not torch.equal(wide, usual_crop)


@pytest.mark.parametrize(("method", "key"), [(method, key) for method in METHODS for key in TRIED[method]])
def test_every_option_of_a_method_changes_its_training(method: str, key: str):
    backbone = NETWORKS.get(key)
    changed = outcome(learner(method, backbone=backbone, **{key: TRIED[method][key]}), method)
    assert changed != usual(method, backbone)


def test_options_that_matter_to_some_networks_only_are_tried_with_one_of_them():
    told = dict(
        each for method in METHODS for each in registry.constant("methods", method, "ONLY_ON", default={}).items()
    )
    assert told.keys() == NETWORKS.keys()
    assert all(backbones.belongs(NETWORKS[key], kinds) for key, kinds in told.items())


@cache
def trained(folder: object, **changes: object) -> tuple:
    """All that a short training leaves: its products, and how often it was saved."""
    saves, saved = [], checkpoint.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", lambda *given, **more: (saves.append(1), saved(*given, **more)))
        plain = {"steps": 24, "batch": 8, "optimiser": "adamw", "lr": 0.02, "validations": 6, "save_minutes": 0}
        training = Training(**plain | changes)
        fitted = training_made.train(folder, training_made.Small(dropout=0.0), training=training)
    return (*training_made.products(folder), len(saves), fitted.steps)


@pytest.mark.parametrize("key", TRAINED)
def test_every_key_of_a_training_changes_it(key: str, tmp_path):
    beside = {
        "momentum": {"optimiser": "sgd"}, "patience": {"lr": 0.5, "validations": 24}, "clip_by": {"clip": 0.01},
    }.get(key, {})  # fmt: skip
    before, after = tmp_path / "before", tmp_path / "after"
    assert trained(after, **beside, **{key: TRAINED[key]}) != trained(before, **beside)


def test_a_training_in_epochs_has_another_length(tmp_path):
    assert trained(tmp_path / "epochs", steps=None, epochs=2.0)[-1] != 24


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_of_a_batch_is_the_mean_of_its_parts_only_where_a_method_says_so(method: str, float64):
    targets = torch.from_numpy(np.eye(3)[[0, 0, 0, 1, 1, 2, 0, 0]])
    # nothing is known of two labels of the second half
    targets[4:, :2] = torch.nan
    whole, parts = [], []
    for losses, cuts in ((whole, (slice(0, 8),)), (parts, (slice(0, 4), slice(4, 8)))):
        for cut in cuts:
            module = learner(method)
            # in evaluation BatchNorm does not tell the images of each other
            module.eval().before_step(step=0)
            cases = torch.arange(BATCH)[cut]
            keys = draws.keys(seed=1, epochs=torch.zeros_like(cases), cases=cases)
            views = module.views(images(method)[cut], keys)
            losses.append(float(module(views, targets[cut]).detach()))
    same = sum(parts) / 2 == pytest.approx(whole[0], rel=1e-9)
    assert module.apart == registry.constant("methods", method, "APART", default=False)
    assert module.compared == registry.constant("methods", method, "COMPARED", default=False)
    # moco compares with earlier images, but its groups with BatchNorm, at rest here, are those of a batch, and ibot
    # compares those of a batch by its koleo alone, which is off here
    assert same == (method in ("moco", "ibot") or module.apart), (whole, parts)
    assert module.apart or module.compared


@pytest.mark.parametrize("method", [method for method in METHODS if method != "supervised"])
def test_layer_decay_is_refused_where_all_layers_are_trained_alike(method: str):
    with pytest.raises(UserError, match="layer_decay works only where all layers are fine-tuned"):
        learner(method).parameter_groups(Training(steps=1, batch=BATCH, layer_decay=0.5))


def test_layer_decay_gives_layers_their_own_rates():
    tasks = TaskSet.of(Task(name="classification", labels=("a", "b"), form="multilabel"))
    encoder = backbones.build("timm/test_vit", size=32, mean=(0.5,), std=(0.25,), seed=0)
    network = TaskNetwork(encoder, tasks=tasks, seeds={"": 0})
    learner: nn.Module = fitting.Fitting(network, views=Views(), label_weights=torch.ones(2))
    groups = learner.parameter_groups(Training(steps=1, layer_decay=0.5))
    assert len({group["lr_scale"] for group in groups}) > 2


@pytest.mark.parametrize("key", OF_COLOURS)
def test_changing_the_colours_of_grey_images_is_refused(key: str):
    views = Views(**{key: 0.1})
    with pytest.raises(UserError, match=rf"the images are grey, so views\.{key} has no effect; remove views\.{key}"):
        pictures.check(views, channels=1)
    pictures.check(views, channels=3)
    pictures.check(Views(), channels=1)
    with pytest.raises(UserError, match=r"views\.scaling changes volumes only"):
        pictures.check(Views(scaling=0.1), channels=1)


@pytest.mark.parametrize("backbone", ["timm/test_vit", "timm/test_vit4", "timm/test_resnet"])
def test_without_layer_decay_those_that_decay_are_timms(backbone: str):
    encoder = backbones.build(
        backbone, size=160 if backbone == "timm/test_vit4" else 32, mean=(0.5,), std=(0.25,), seed=0
    )
    module = Learner()
    module.encoder = encoder
    groups = module.parameter_groups(Training(steps=1, weight_decay=0.1))
    spared = getattr(encoder.backbone, "no_weight_decay", set)()
    theirs = timm.optim.param_groups_weight_decay(encoder.backbone, 0.1, no_weight_decay_list=spared)
    ours = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert {id(each): group["weight_decay"] for group in theirs for each in group["params"]} == ours
    assert {0.0, 0.1} == set(ours.values())
    for name in ("pos_embed", "cls_token"):
        if "vit" in backbone and getattr(encoder.backbone, name, None) is not None:
            assert not ours[id(getattr(encoder.backbone, name))]


def test_with_layer_decay_those_that_decay_are_timms():
    tasks = TaskSet.of(Task(name="classification", labels=("a", "b"), form="multilabel"))
    encoder = backbones.build("timm/test_vit", size=32, mean=(0.5,), std=(0.25,), seed=0)
    network = TaskNetwork(encoder, tasks=tasks, seeds={"": 0})
    learner: nn.Module = fitting.Fitting(network, views=Views(), label_weights=torch.ones(2))
    decays = [
        {
            id(parameter): group["weight_decay"]
            for group in learner.parameter_groups(training)
            for parameter in group["params"]
        }
        for training in (Training(steps=1), Training(steps=1, layer_decay=0.5))
    ]
    assert decays[0] == decays[1]
