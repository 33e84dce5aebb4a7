"""What methods compare over the whole batch is the same on one rank and on two: losses, gradients and queues."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

import headwater
import ranks_made
import rounding
import warm
from headwater.training.ddp import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def one():
    with rounding.in_float64():
        return ranks_made.told(World(rank=0, size=1, device=torch.device("cpu")))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two ranks tells."""
    folder = tmp_path_factory.mktemp("ranks")
    paths = [Path(headwater.__file__).parents[1], Path(__file__).parents[2], Path(__file__).parent]
    launch = [warm.python(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    line = [*launch, rounding.__file__, ranks_made.__file__, str(folder)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def test_rows_are_gathered_in_the_order_of_the_batch(one, two):
    assert one["whole"].flatten().tolist() == list(range(ranks_made.CASES))
    assert [torch.equal(rank["whole"], one["whole"]) for rank in two] == [True, True]
    assert one["mean"].tolist() == [1.0] and [rank["mean"].tolist() for rank in two] == [[2.0], [2.0]]


def test_sinkhorn_over_ranks_is_sinkhorn_over_the_whole(one, two):
    for rank in two:
        torch.testing.assert_close(rank["sorted"], one["sorted"], **rounding.NEAR)


@pytest.mark.parametrize("method", [*ranks_made.COMPARED, "larger pictures"])
def test_losses_and_gradients_are_those_of_the_whole_batch(one, two, method):
    for rank in two:
        torch.testing.assert_close(rank[method]["losses"], one[method]["losses"], **rounding.NEAR)
        assert rank[method]["gradients"].keys() == one[method]["gradients"].keys()
        for name, gradient in one[method]["gradients"].items():
            torch.testing.assert_close(rank[method]["gradients"][name], gradient, **rounding.NEAR)


@pytest.mark.parametrize("method", ranks_made.COMPARED)
def test_what_is_remembered_is_the_same_on_all_ranks(one, two, method):
    """Queues, centres, statistics of BatchNorm and counters."""
    for rank in two:
        for name, expected in one[method]["state"].items():
            torch.testing.assert_close(rank[method]["state"][name], expected, **rounding.NEAR)
