"""Trainings whose weights are split among ranks: all that they leave is that of plain ones, but for rounding."""

import dataclasses
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_flatten_with_path

import headwater
import rounding
import sharded_made
import training_made
import warm
from headwater.core.errors import UserError
from headwater.models import weight_files
from headwater.study.recipe import Training
from headwater.training import sharding
from headwater.training.state import State
from sharded_made import TRAININGS, WAYS
from test_every_option import learner

ALONE = training_made.ALONE


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder in which two ranks left all trainings."""
    folder = tmp_path_factory.mktemp("two")
    with rounding.in_float64():
        sharded_made.stopped(folder / "left by one", world=ALONE)
    paths = [Path(headwater.__file__).parents[1], *Path(__file__).parents[:3]]
    line = [warm.python(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", rounding.__file__]
    done = subprocess.run(
        [*line, sharded_made.__file__, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The folder in which one rank left them, plain."""
    folder = tmp_path_factory.mktemp("one")
    with rounding.in_float64():
        sharded_made.all_trained(folder, ALONE)
        for way in WAYS:
            sharded_made.fitted(folder / way, way, world=ALONE)
    return folder


def metrics(folder: Path) -> dict[tuple[int, str], float]:
    """Losses, learning rates and what was validated, by step and name."""
    rows = (line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()[1:])
    return {(int(step), name): float(value) for step, name, value in rows}


def weights(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """(tensors, metadata) of what a training keeps."""
    return weight_files.load_weights(folder / "weights.safetensors")


def alike(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert type(other[name]) is torch.Tensor
        torch.testing.assert_close(other[name], tensor, **rounding.NEAR)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_each_method_learns_the_same(one, two, name):
    np.testing.assert_allclose(
        training_made.losses(two / "0" / name), training_made.losses(one / name), **rounding.NEAR
    )
    plain, *split = (torch.load(folder / name / "left.pt") for folder in (one, two / "0", two / "1"))
    for left in split:
        assert list(left) == list(plain)
        alike(plain, left)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_fine_tune_learns_and_validates_the_same(one, two, way):
    plain, split = (metrics(folder / way) for folder in (one, two))
    assert list(plain) == list(split) and sum(name == "validation/loss" for _, name in plain) == 2
    np.testing.assert_allclose(list(split.values()), list(plain.values()), **rounding.NEAR)
    (left, metadata), (left_of_split, same) = (weights(folder / way) for folder in (one, two))
    assert metadata["kept"] == same["kept"]
    alike(left, left_of_split)


@pytest.mark.slow
def test_a_training_that_is_stopped_goes_on_exactly(two):
    assert training_made.products(two / "stopped") == training_made.products(two / "full")


@pytest.mark.slow
def test_checkpoints_are_those_of_plain_trainings_and_go_on_on_other_numbers_of_ranks(one, two, tmp_path, float64):
    sharded_made.stopped(tmp_path, world=ALONE)
    plain, split = (torch.load(folder / "progress.pt", weights_only=True) for folder in (tmp_path, two / "left to one"))
    assert plain["step"] == split["step"] == 4
    for (path, value), (same_path, other) in zip(
        *(tree_flatten_with_path(saved)[0] for saved in (plain, split)), strict=True
    ):
        assert path == same_path and type(value) is type(other), path
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(other, value, **rounding.NEAR)
    sharded_made.fitted(two / "left to one", "full", world=ALONE)
    expected = training_made.losses(one / "full")
    for folder in ("left to one", "left by one"):
        np.testing.assert_allclose(training_made.losses(two / folder), expected, **rounding.NEAR)
        alike(weights(one / "full")[0], weights(two / folder)[0])


@pytest.mark.slow
def test_a_rank_holds_its_share_of_weights_and_moments(two, float64):
    whole = sharded_made.held(ALONE)
    assert whole["plain"] == 0 < whole["weights"]
    for rank in ("0", "1"):
        told = torch.load(two / rank / "told.pt")
        # student and teacher have as many blocks
        assert told["units"] == sharded_made.BLOCKS * 2
        assert told["held"]["plain"] == 0
        for what in ("weights", "moments"):
            assert 0.49 * whole[what] < told["held"][what] < 0.51 * whole[what]


def test_what_is_whole_at_once_is_the_largest_block_and_all_that_is_in_none():
    module = learner("mae", backbone=sharded_made.VIT)
    blocks = [*module.encoder.backbone.blocks, *module.decoder.blocks]
    inside = [sum(weight.nbytes for weight in block.parameters()) for block in blocks]
    total = sum(weight.nbytes for weight in module.parameters())
    assert sharding.whole_at_once(module) == total - sum(inside) + max(inside)


@pytest.mark.parametrize(
    ("method", "ranks", "changes", "how", "words"),
    [
        ("mae", 1, {}, {}, "split among its ranks, and there is one; raise ranks"),
        ("mae", 2, {}, {"compiled": True}, "networks whose weights are split are not compiled"),
        ("mae", 2, {"accumulate": "auto"}, {}, "what a step takes is not measured on split weights"),
        ("dino", 2, {"accumulate": 2}, {}, "are compared are not made part by part on split weights"),
        ("mae", 2, {"optimiser": "lamb"}, {}, "lamb needs the length of whole weights"),
        ("mae", 2, {"optimiser": "lars"}, {}, "lars needs the length of whole weights"),
        ("mae", 2, {"precision": "fp16"}, {}, "gradients in fp16 are scaled on each rank by itself"),
    ],
)
def test_what_is_not_known_to_be_the_same_is_refused_before_the_first_step(method, ranks, changes, how, words):
    world = dataclasses.replace(ALONE, size=ranks, sharded=True, **how)
    with pytest.raises(UserError, match=words) as refused:
        State(learner(method), training=Training(steps=2, batch=8, lr=1e-3, **changes), steps=2, world=world)
    assert "\n" not in str(refused.value) and str(refused.value).startswith("compute.fsdp: ")
