"""Sharded reading: disks are read in long runs, and what a step sees still follows from its number alone."""

import os
import signal
from itertools import takewhile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from headwater.core.errors import UserError
from headwater.training import bad_loss
from headwater.training.batches import of_step, training_batches
from headwater.training.ddp import World
from headwater.training.reading import order, pictures
from headwater.training.reading.order import SHARD, WINDOW, epoch_of, shards_ahead, stream
from training_made import Doomed, Small, losses, products, recipe, train


@pytest.fixture
def small(monkeypatch):
    """Shards of four cases, in windows of three."""
    epoch_of.cache_clear()
    monkeypatch.setattr(order, "SHARD", 4)
    monkeypatch.setattr(order, "WINDOW", 3)
    yield
    epoch_of.cache_clear()


@settings(deadline=None, max_examples=25)
@given(cases=st.integers(1, 15_000), epoch=st.integers(0, 5), seed=st.integers(0, 2**63))
def test_each_epoch_shows_each_case_once_and_each_window_few_runs_of_the_disk(cases, epoch, seed):
    epochs, numbers = stream(np.arange(epoch * cases, (epoch + 1) * cases), cases=cases, seed=seed, reading="sharded")
    assert (epochs == epoch).all() and np.array_equal(np.sort(numbers), np.arange(cases))
    plan = epoch_of(seed, epoch, cases, "sharded")
    shards = sorted((shard for window in plan.windows for shard in window), key=lambda shard: shard.start)
    assert [case for shard in shards for case in shard] == list(range(cases))
    assert all(1 <= len(shard) <= SHARD for shard in shards) and len(shards) <= cases / SHARD + 2
    sizes = [len(window) for window in plan.windows]
    assert len(sizes) == -(-len(shards) // WINDOW) and max(sizes) <= WINDOW and max(sizes) - min(sizes) <= 1
    for window, first, last in zip(plan.windows, plan.starts()[:-1], plan.starts()[1:], strict=True):
        seen = numbers[first:last]
        assert sorted(seen) == sorted(case for shard in window for case in shard)


def test_what_is_shuffled_is_ordered_as_ever():
    chance = np.random.Generator(np.random.Philox(np.random.SeedSequence((7, 2))))
    assert np.array_equal(stream(np.arange(200, 300), cases=100, seed=7)[1], chance.permutation(100))


def test_epochs_and_seeds_have_orders_and_shards_of_their_own():
    plans = [epoch_of(seed, epoch, 5000, "sharded") for seed in (0, 1) for epoch in (0, 1)]
    assert len({plan.order.tobytes() for plan in plans}) == 4
    assert len({min(len(shard) for window in plan.windows for shard in window) for plan in plans}) > 1


def test_cases_come_anywhere_in_an_epoch_and_neighbours_apart():
    seeds, cases = 300, 5 * SHARD * WINDOW - SHARD
    places, apart = [], []
    for seed in range(seeds):
        where = np.argsort(epoch_of(seed, 0, cases, "sharded").order)
        places.append(where[[17, 12_345]] / cases)
        apart.append(abs(int(where[12_345]) - int(where[12_346])))
    for place in np.transpose(places):
        assert stats.chisquare(np.histogram(place, bins=10, range=(0, 1))[0]).pvalue > 1e-4
    # two cases of one shard are apart as two draws of a window's 4,096 places are, by a third of it in the mean; and
    # one pair of 64 is of two shards, which are further apart
    assert np.median(apart) == pytest.approx(SHARD * WINDOW * (1 - np.sqrt(0.5)), rel=0.2)


def test_a_batch_is_made_of_many_places_of_an_archive():
    cases, batch = 100_000, 64
    _, numbers = stream(np.arange(50 * batch), cases=cases, seed=0, reading="sharded")
    touched = [len(np.unique(part // SHARD)) for part in numbers.reshape(-1, batch)]
    # 64 draws of 64 shards meet 40.6 of them, each of which straddles two of the runs that are counted here
    assert np.mean(touched) > 40 and min(touched) > 30


def batches(ahead, *, rank=0, size=1, rows=None):
    images = np.arange(200, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), dtype=np.uint8)
    rows = np.random.default_rng(0).permutation(200)[:50] if rows is None else rows
    world = World(rank=rank, size=size, device=torch.device("cpu"))
    given = {"images": images, "rows": rows, "targets": rows[:, None].astype(np.float32), "batch": 6, "seed": 5}
    return list(training_batches(ahead, **given, world=world, reading_order="sharded"))


def test_a_training_that_goes_on_sees_the_steps_that_it_would_have_seen(small):
    whole, rest = batches(range(40)), batches(range(23, 40))
    for one, other in zip(whole[23:], rest, strict=True):
        assert torch.equal(one.images.values, other.images.values) and torch.equal(one.cases, other.cases)
        assert torch.equal(one.targets[:, 0].long(), one.cases) and torch.equal(one.epochs, other.epochs)
    first = torch.cat([batch.cases for batch in whole])[:50]
    rows = np.random.default_rng(0).permutation(200)[:50]
    assert sorted(first.tolist()) == sorted(rows.tolist())
    for step, batch in enumerate(whole):
        told = of_step(step, rows=rows, batch=6, seed=5, reading_order="sharded")
        assert np.array_equal(told, [batch.epochs.numpy(), batch.cases.numpy()])


def test_all_ranks_together_see_what_one_rank_sees(small):
    (alone,) = batches([7])
    shares = [batches([7], rank=rank, size=3)[0] for rank in range(3)]
    assert torch.equal(torch.stack([share.cases for share in shares], dim=1).flatten(), alone.cases)


def test_rows_that_lie_together_on_the_disk_are_read_together(small):
    """Whatever the order in which the rows of a training are named."""
    rows = np.random.default_rng(1).permutation(100)
    plan = epoch_of(5, 0, 100, "sharded")
    window = plan.starts()[1]
    cases = torch.cat([batch.cases for batch in batches(range(2), rows=rows)]).numpy()[:window]
    assert len(cases) >= 6
    # the first window holds at most three shards of neighbours
    assert len(np.split(np.sort(cases), np.flatnonzero(np.diff(np.sort(cases)) > 1) + 1)) <= 3


@pytest.mark.parametrize("start", [0, 23])
def test_shards_are_announced_as_they_lie_before_their_images_are_read(small, monkeypatch, start):
    announced, rows = [], np.random.default_rng(0).permutation(200)[:50]
    monkeypatch.setattr(pictures, "announce", lambda images, some: announced.append(some.tolist()))
    read, loads = [], pictures.load
    monkeypatch.setattr(pictures, "load", lambda *given, **more: read.append(len(announced)) or loads(*given, **more))
    monkeypatch.setattr("headwater.training.batches.depth_of", lambda batch: 2)
    seen = batches(range(start, start + 40), rows=rows)
    assert all(some == sorted(some) and 1 <= len(some) <= 4 for some in announced)
    assert all(np.array_equal(some, np.sort(rows)[np.isin(np.sort(rows), some)]) for some in announced)
    held, times = dict.fromkeys(rows.tolist(), 0), dict.fromkeys(rows.tolist(), 0)
    told = 0
    for batch, count in zip(seen, read, strict=True):
        for row in (row for some in announced[told:count] for row in some):
            held[row] += 1
        told = count
        for row in batch.cases.tolist():
            times[row] += 1
            # one that goes on within a window announces all of it, used or not
            assert held[row] >= times[row]
        # not more than the rest of this window and the two that the steps ahead may open
        assert sum(held.values()) - sum(times.values()) <= 4 * 12
    announced.clear()
    (last,) = batches([start], rows=rows)
    assert set(last.cases.tolist()) <= {row for some in announced for row in some}


@settings(deadline=None, max_examples=15)
@given(cases=st.integers(1, 10_000), position=st.integers(0, 30_000), seed=st.integers(0, 1000))
def test_shards_are_read_one_after_the_other_while_the_window_before_is_used(cases, position, seed):
    end = position + 3 * cases
    coming = list(takewhile(lambda one: one[0] < end, shards_ahead(position, cases=cases, seed=seed)))
    opens = np.array([at for at, _ in coming])
    assert (np.diff(opens) >= 0).all() and opens[0] == position
    # windows as they follow each other from the one that holds the position
    windows = []
    for epoch in range(position // cases, end // cases + 2):
        plan = epoch_of(seed, epoch, cases, "sharded")
        starts = (epoch * cases + plan.starts()).tolist()
        windows += [(*ends, shards) for *ends, shards in zip(starts[:-1], starts[1:], plan.windows, strict=True)]
    windows = [(first, last, shards) for first, last, shards in windows if last > position]
    at = 0
    for number, (first, _, shards) in enumerate(windows):
        some = coming[at : at + len(shards)]
        assert [shard for _, shard in some] == list(shards)[: len(some)]
        before = max(windows[number - 1][0], position)
        assert all((opened == position) if number == 0 else before <= opened < first for opened, _ in some)
        if number and len(some) == len(shards):
            gaps = np.diff([*(opened for opened, _ in some), first])
            assert gaps.max() - gaps.min() <= 1
        at += len(some)
    assert at == len(coming)


def test_a_sharded_training_that_is_stopped_ends_in_the_same_bytes(small, tmp_path):
    sharded = recipe(reading="sharded")
    train(tmp_path / "alone", Small(dropout=0.2), training=sharded)
    for at in (5, 12):
        with pytest.raises(SystemExit):
            doomed = Doomed(at=at, deed=lambda: os.kill(os.getpid(), signal.SIGTERM), dropout=0.2)
            train(tmp_path / "often", doomed, training=sharded)
    train(tmp_path / "often", Small(dropout=0.2), training=sharded)
    assert products(tmp_path / "often") == products(tmp_path / "alone")
    # it learns, and in another order than what is shuffled
    trace = losses(tmp_path / "alone")
    assert trace[-5:].mean() < trace[:5].mean()
    train(tmp_path / "shuffled", Small(dropout=0.2))
    assert not np.array_equal(trace, losses(tmp_path / "shuffled"))


def test_the_images_that_are_kept_of_a_bad_loss_are_those_of_its_step(small, tmp_path, monkeypatch):
    class Poisoned(Small):
        def forward(self, views, targets):
            return super().forward(views, targets) * float("nan")

    kept = {}
    monkeypatch.setattr(bad_loss, "keep", lambda folder, **told: kept.update(told))
    with pytest.raises(UserError, match="the loss became nan at step 1 "):
        train(tmp_path, Poisoned(), training=recipe(reading="sharded"))
    rows = np.arange(1, 29)
    numbers = stream(np.arange(8, 16), cases=28, seed=3, reading="sharded")[1]
    assert np.array_equal(kept["drawn"](1)[1], rows[numbers])
