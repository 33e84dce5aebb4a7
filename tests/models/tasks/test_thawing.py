"""An encoder that is frozen at first: bit by bit as it came, then trained, stopped and resumed anywhere."""

import os
import signal
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydantic
import pytest
import thawing_made
import torch
from thawing_made import HELD, SHARED, STEPS, Thawing, training
from torch.nn.modules.batchnorm import _BatchNorm

import headwater
import rounding
import warm
from headwater.core.errors import UserError
from headwater.study.recipe import Recipe, Training
from headwater.training import checkpoint, schedule
from training_made import losses, pictures, products, train


def norms(learner):
    """The names of the parameters of BatchNorm layers."""
    return {
        f"{place}.{name}"
        for place, module in learner.encoder.named_modules()
        if isinstance(module, _BatchNorm)
        for name, _ in module.named_parameters(recurse=False)
    }


def changed(learner, start):
    """The names of the parameters that each step changed."""
    traces = [start, *learner.seen]
    return [
        {name for name in after if not torch.equal(before[name], after[name])} for before, after in pairwise(traces)
    ]


def started(learner):
    return {name: tensor.detach().clone() for name, tensor in learner.encoder.named_parameters()}


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd", "lars", "lamb"])
def test_only_batch_norms_of_the_encoder_learn_at_first_and_then_all(tmp_path, optimiser):
    learner = Thawing()
    start, inside, statistics = started(learner), norms(learner), dict(learner.encoder.named_buffers())
    statistics = {name: tensor.clone() for name, tensor in statistics.items()}
    train(tmp_path, learner, training=training(optimiser=optimiser, ema=None), select=None)
    each = changed(learner, start)
    assert len(each) == STEPS and inside and set(start) - inside
    # weight decay pulls at nothing that is frozen
    assert set() < set.union(*each[:HELD]) <= inside
    # the steps of lars are so small here that some weights are rounded to what they were
    weights = set(start) - inside
    assert each[HELD] & weights if optimiser == "lars" else each[HELD] >= weights
    assert len(set.union(*each[HELD:]) & weights) > 0.9 * len(weights)
    moved = dict(learner.encoder.named_buffers())
    assert any(not torch.equal(moved[name], tensor) for name, tensor in statistics.items() if "mean" in name)


def test_an_encoder_without_batch_norms_is_frozen_whole(tmp_path):
    learner = Thawing(name="timm/test_vit")
    start = started(learner)
    images, _ = pictures(size=32)
    train(tmp_path, learner, training=training(ema=None), select=None, validate=None, images=images)
    each = changed(learner, start)
    assert each[:HELD] == [set()] * HELD and set.union(*each[HELD:]) == set(start)


def test_moments_begin_where_the_encoder_does(tmp_path):
    for at, held in ((HELD, True), (HELD + 1, False)):
        with pytest.raises(SystemExit):
            learner = Thawing(at=at, deed=lambda: os.kill(os.getpid(), signal.SIGTERM))
            train(tmp_path / str(at), learner, training=training())
        saved = checkpoint.load(tmp_path / str(at) / "progress.pt", identity="this one")["optimiser"]
        parameters = {one for group in saved["param_groups"] for one in group["params"]}
        assert set(saved["state"]) < parameters if held else set(saved["state"]) == parameters
        steps = {int(state["step"]) for state in saved["state"].values()}
        # what was frozen counts its own steps: the first correction of its moments is that of a first step
        assert steps == ({HELD} if held else {1, HELD + 1})


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("left_alone")
    return folder, train(folder, Thawing(), training=training())


@pytest.mark.parametrize("at", [1, HELD - 1, HELD, HELD + 1, STEPS - 1])
def test_killed_around_the_switch_and_resumed_it_ends_in_the_same_bytes(tmp_path, left_alone, at):
    with pytest.raises(SystemExit):
        train(tmp_path, Thawing(at=at, deed=lambda: os.kill(os.getpid(), signal.SIGTERM)), training=training())
    assert train(tmp_path, Thawing(), training=training()) == left_alone[1]
    assert products(tmp_path) == products(left_alone[0])


@pytest.mark.slow
@rounding.in_float64()
def test_two_ranks_train_what_one_does(tmp_path):
    train(tmp_path / "one", Thawing(), training=SHARED)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    library = str(Path(headwater.__file__).parents[1])
    line = [warm.python(), *torchrun, rounding.__file__, thawing_made.__file__, str(tmp_path / "two")]
    done = subprocess.run(
        line, env={**os.environ, "PYTHONPATH": library}, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == STEPS
    np.testing.assert_allclose(two, one, **rounding.NEAR)
    # what comes after the switch is not what a training that stays frozen does
    train(tmp_path / "frozen", Thawing(held=STEPS), training=SHARED)
    frozen = losses(tmp_path / "frozen")
    assert (frozen[: HELD + 1] == one[: HELD + 1]).all() and np.abs(frozen / one - 1)[HELD + 1 :].max() > 1e-2


def rates(folder):
    lines = (line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()[1:])
    return [float(value) for _, name, value in lines if name == "training/lr"]


def test_the_rate_stays_unless_another_is_asked_for(tmp_path):
    same = training(schedule="constant", warmup_steps=0, lr=1e-4)
    for name, later in (("same", 1.0), ("published", 0.2)):
        train(tmp_path / name, Thawing(later=later), training=same)
    assert rates(tmp_path / "same") == pytest.approx([1e-4] * STEPS)
    assert rates(tmp_path / "published") == pytest.approx([1e-4] * HELD + [2e-5] * (STEPS - HELD))


def recipe(length=None, **changes):
    return Recipe(name="full", training=Training(**length or {"epochs": 70}), **changes)


def test_lengths_are_steps_or_epochs():
    assert schedule.frozen(recipe(), cases=425) == 0
    # the published study: 425 images in batches of 64
    assert schedule.frozen(recipe(frozen_epochs=10), cases=425) == 67
    assert schedule.frozen(recipe(frozen_steps=12), cases=425) == 12
    with pytest.raises(UserError, match="is frozen for 20 steps, but the training on 64 cases has only 5"):
        schedule.frozen(recipe({"epochs": 5}, frozen_steps=20), cases=64)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frozen_steps": 3, "frozen_epochs": 2}, "either frozen_steps or frozen_epochs"),
        ({"frozen_epochs": 2, "kind": "linear_probe"}, "a linear_probe is always frozen"),
        ({"unfrozen_lr": 1e-5}, "unfrozen_lr needs frozen_steps or frozen_epochs"),
        ({"frozen_epochs": 70}, r"frozen_epochs \(70\) must be smaller than epochs \(70\)"),
    ],
)
def test_what_cannot_be_is_refused(changes, said):
    with pytest.raises(pydantic.ValidationError, match=said):
        recipe(**changes)


def test_a_recipe_that_freezes_nothing_keeps_its_digest():
    assert "frozen" not in recipe().as_json()
