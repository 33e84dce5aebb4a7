"""Two ranks and one rank do the same arithmetic."""

import subprocess

import numpy as np
import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

import rounding
import warm
from headwater.core.errors import UserError
from headwater.training import ddp
from headwater.training.ddp import SharedBatchNorm, World
from headwater.training.views.pictures import as_float
from training_made import LEARNERS, STEPS, Small, command, losses, paired, pictures, products, train

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """The folder in which two ranks left what they were asked in one start."""
    folder = tmp_path_factory.mktemp("two_ranks")
    line, environment = command("several", folder, ranks=2, double=True)
    line[0] = warm.python()
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_one_and_two_ranks_have_the_same_loss_trace(two_ranks, tmp_path, name):
    train(tmp_path, LEARNERS[name]())
    one, two = losses(tmp_path), losses(two_ranks / name)
    assert len(one) == len(two) == STEPS
    np.testing.assert_allclose(two, one, **rounding.NEAR)
    assert len(set(one)) == STEPS


@pytest.mark.slow
def test_a_batch_in_parts_has_the_same_loss_trace_on_two_ranks(two_ranks, tmp_path):
    train(tmp_path, Small("layer"))
    np.testing.assert_allclose(losses(two_ranks / "in_parts"), losses(tmp_path), **rounding.NEAR)


@pytest.mark.slow
def test_a_batch_in_parts_that_is_compared_has_the_same_loss_trace_on_two_ranks(two_ranks, tmp_path):
    train(tmp_path, paired())
    np.testing.assert_allclose(losses(two_ranks / "compared"), losses(tmp_path), **rounding.NEAR)


@pytest.mark.slow
def test_all_ranks_take_the_parts_of_the_one_with_the_least_memory(two_ranks, tmp_path):
    assert [(two_ranks / f"chosen.{rank}").read_text() for rank in (0, 1)] == ["4", "4"]
    train(tmp_path, Small("layer"))
    np.testing.assert_allclose(losses(two_ranks / "chosen"), losses(tmp_path), **rounding.NEAR)


@pytest.mark.slow
def test_of_two_ranks_the_one_with_too_little_memory_tells_the_remedy(tmp_path):
    line, environment = command("lacking", tmp_path, ranks=2)
    line[0] = warm.python()
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode != 0
    words = "training: rank 1: 4 images at a time take more memory than the GPU has (CUDA out of memory. Tried to"
    [told] = [line for line in done.stderr.splitlines() if "images at a time" in line]
    assert told.startswith(words) and "; set training.accumulate to 2, lower batch, or raise compute.ranks" in told


@pytest.mark.slow
def test_uneven_shares_are_gathered_in_the_order_of_ranks_and_scored_once(two_ranks):
    told = torch.load(two_ranks / "told.pt")
    assert told["gathered"].tolist() == [[0, 1], [2, 3], [4, 5], [100, 101], [102, 103]]
    images, _ = pictures()
    network = Small().network.eval()
    for scored, rows in zip(told["scored"], ([8, 3, 3, 30, 1], [6]), strict=True):
        with torch.no_grad():
            torch.testing.assert_close(scored, network(as_float(torch.from_numpy(images[rows]))))


@pytest.mark.slow
def test_a_signal_that_one_rank_hears_stops_both_and_the_resumed_training_is_exact(two_ranks):
    assert [(two_ranks / f"resumed.{rank}").read_text() for rank in (0, 1)] == ["143", "143"]
    assert products(two_ranks / "resumed") == products(two_ranks / "batch")


@pytest.mark.slow
def test_a_training_stopped_on_two_ranks_goes_on_on_one(two_ranks):
    folder = two_ranks / "left_to_one"
    assert len(losses(folder)) == 13
    assert train(folder, Small()).steps == STEPS
    two, one = losses(two_ranks / "batch"), losses(folder)
    assert (one[:13] == two[:13]).all() and len(one) == STEPS
    np.testing.assert_allclose(one, two, **rounding.NEAR)


def sum_of_one(monkeypatch):
    monkeypatch.setattr(ddp.dist, "all_reduce", lambda tensor: None)


@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5, 5)])
def test_the_shared_batch_norm_is_torchs_own_on_one_rank(monkeypatch, shape, momentum):
    sum_of_one(monkeypatch)
    kind = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    own = kind(4, momentum=momentum)
    with torch.no_grad():
        own.weight.uniform_(0.5, 2)
        own.bias.uniform_(-1, 1)
    shared = SharedBatchNorm(kind(4, momentum=momentum), ranks=1)
    shared.load_state_dict(own.state_dict())
    x = (torch.randn(shape) * 3 + 5).requires_grad_()
    weights = torch.randn(shape)
    for _ in range(3):
        ours, theirs = shared(x), own(x)
        torch.testing.assert_close(ours, theirs, **rounding.NEAR)
        gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (ours, theirs)]
        torch.testing.assert_close(*gradients, **rounding.NEAR)
    torch.testing.assert_close(dict(shared.state_dict()), dict(own.state_dict()))
    torch.testing.assert_close(shared.eval()(x), own.eval()(x))


def test_timms_norm_keeps_its_activation_and_names(monkeypatch):
    sum_of_one(monkeypatch)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), BatchNormAct2d(4), nn.Sequential(nn.BatchNorm2d(4)))
    names, x = list(model.state_dict()), torch.randn(5, 3, 4, 4)
    expected = model(x)
    # as if there were two ranks of which the other sees the same cases
    monkeypatch.setattr(ddp.dist, "all_reduce", lambda tensor: tensor.mul_(2))
    shared = ddp.with_shared_statistics(model, World(rank=0, size=2, device=torch.device("cpu")))
    assert shared is model and list(shared.state_dict()) == names
    assert [type(model[1]), type(model[2][0])] == [SharedBatchNorm] * 2
    torch.testing.assert_close(shared(x), expected)


def test_one_rank_is_left_alone():
    model = nn.Sequential(nn.BatchNorm2d(4))
    with ddp.world(threads=1) as here:
        assert (here.rank, here.size, here.first) == (0, 1, True)
        assert type(ddp.with_shared_statistics(model, here)[0]) is nn.BatchNorm2d
        assert ddp.share(5, here).tolist() == [0, 1, 2, 3, 4]


def test_every_position_belongs_to_one_rank():
    for count in (0, 1, 2, 7):
        shares = [ddp.share(count, World(rank=rank, size=3, device=torch.device("cpu"))) for rank in range(3)]
        assert sorted(np.concatenate(shares).tolist()) == list(range(count))


def test_a_batch_that_ranks_cannot_share_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"batch must be a multiple of the 3 ranks \(got 8\)"):
        train(tmp_path, Small(), world=World(rank=1, size=3, device=torch.device("cpu")))
