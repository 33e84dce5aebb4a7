"""What a training sees follows from the step's number alone."""

import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headwater.training.batches import training_batches
from headwater.training.ddp import World
from headwater.training.reading.ahead import read_ahead
from headwater.training.reading.order import stream
from headwater.training.reading.pictures import load

CPU = torch.device("cpu")


def batches(ahead, *, rank=0, size=1, batch=6, cases=10):
    images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), dtype=np.uint8)
    rows = np.arange(cases) * 3 + 2
    return list(
        training_batches(
            ahead,
            images=images,
            rows=rows,
            targets=rows[:, None].astype(np.float32),
            batch=batch,
            seed=5,
            world=World(rank=rank, size=size, device=CPU),
        )
    )


@given(cases=st.integers(1, 30), epochs=st.integers(1, 4), seed=st.integers(0, 2**63))
def test_each_epoch_shows_each_case_once(cases, epochs, seed):
    epoch, places = stream(np.arange(cases * epochs), cases=cases, seed=seed)
    for number in range(epochs):
        assert sorted(places[epoch == number]) == list(range(cases))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [stream(np.arange(100) + 100 * epoch, cases=100, seed=seed)[1] for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_pixels_targets_and_cases_stay_together():
    for batch in batches(range(5)):
        assert torch.equal(batch.images.values[:, 0, 0, 0].long(), batch.cases)
        assert torch.equal(batch.targets[:, 0].long(), batch.cases)
        assert batch.images.values.dtype == torch.uint8


def test_a_batch_is_full_and_spans_epochs():
    first, second = batches(range(2), batch=25)
    assert len(second.cases) == 25
    assert first.epochs.tolist() == [0] * 10 + [1] * 10 + [2] * 5


def test_all_ranks_together_see_what_one_rank_sees():
    (alone,) = batches([7])
    shares = [batches([7], rank=rank, size=3)[0] for rank in range(3)]
    assert torch.equal(torch.stack([share.cases for share in shares], dim=1).flatten(), alone.cases)


def test_a_training_that_goes_on_sees_the_steps_that_it_would_have_seen():
    assert [batch.cases.tolist() for batch in batches(range(3, 6))] == [
        batch.cases.tolist() for batch in batches(range(6))[3:]
    ]


def test_images_come_in_the_order_asked_for():
    class Disk:
        shape = (9, 1, 2, 2)
        dtype = np.dtype(np.int16)

        def read(self, rows, *, into):
            into[...] = rows[:, None, None, None]

    loaded = load(Disk(), np.array([5, 0, 5, 8, 1]), device=CPU).values
    assert (loaded.shape, loaded.dtype) == ((5, 1, 2, 2), torch.int16)
    assert loaded[:, 0, 1, 1].tolist() == [5, 0, 5, 8, 1]


def test_the_next_is_read_while_one_is_used_and_not_more():
    read = []

    def make(item):
        read.append((item, threading.current_thread()))
        return item

    ahead = read_ahead(make, range(100))
    assert next(ahead) == 0
    deadline = time.monotonic() + 5
    while len(read) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert [item for item, _ in read] == [0, 1]
    assert threading.main_thread() not in {thread for _, thread in read}
    assert list(ahead) == list(range(1, 100))
    assert list(read_ahead(make, [])) == []


def test_a_read_that_fails_is_told():
    with pytest.raises(ZeroDivisionError):
        list(read_ahead(lambda item: 1 / item, [1, 0]))
