"""Batches are copied to a GPU while the one before is computed with, in their order, and what they were is not lost."""

import gc
import os
import signal
import threading
from contextlib import contextmanager
from itertools import count
from unittest.mock import MagicMock

import pytest
import torch

from headwater.training import copying
from headwater.training.batches import Batch
from training_made import Doomed, Small, products, train

CPU = torch.device("cpu")
COPY, COMPUTE = 2.0, 5.0
"""How long the imagined GPU takes for either."""


class Clock:
    """A lane and computations of a GPU that does each as soon as it may, told as the times at which they happen."""

    def __init__(self):
        self.lane = self.computed = 0.0
        self.copies: list[tuple[float, float]] = []
        self.steps: list[tuple[float, float]] = []

    @contextmanager
    def open(self):
        began = self.lane = max(self.lane, self.computed)
        yield
        self.lane += COPY
        self.copies.append((began, self.lane))

    def end(self):
        return self.lane

    def passed(self, mark):
        self.computed = max(self.computed, mark)

    def step(self):
        self.steps.append((self.computed, self.computed + COMPUTE))
        self.computed += COMPUTE


def made(number: int) -> Batch:
    numbers = torch.full((2,), number)
    return Batch(images=numbers, targets={"a": numbers, "b": numbers}, epochs=numbers, cases=numbers)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(copying, "lane_of", lambda device: clock)
    return clock


@pytest.mark.parametrize("batches", [0, 1, 2, 7])
def test_each_batch_comes_once_and_is_there_before_its_step_begins(clock, batches):
    came = []
    for batch in copying.there(map(made, range(batches)), device=CPU):
        clock.step()
        came.append(int(batch.images[0]))
    assert came == list(range(batches)) and len(clock.copies) == batches
    for (_, copied), (began, _) in zip(clock.copies, clock.steps, strict=True):
        assert copied <= began


def test_a_copy_takes_no_time_of_the_steps_but_before_the_first(clock):
    for _ in copying.there(map(made, range(7)), device=CPU):
        clock.step()
    # the second is copied as soon as the first, before there is a step
    assert clock.computed == COPY + 7 * COMPUTE


def test_memory_is_not_written_to_while_it_is_computed_with(clock):
    """A batch may be let go of once its step is queued: all copies that begin afterwards come after the step."""
    for _ in copying.there(map(made, range(7)), device=CPU):
        clock.step()
        queued = len(clock.copies)
        # the next batch is on its way already
        assert queued >= min(7, len(clock.steps) + 1)
    for step, (_, done) in enumerate(clock.steps[:-2]):
        assert all(began >= done for began, _ in clock.copies[step + 2 :])


def test_batches_are_read_one_ahead_of_the_step_and_no_further(clock):
    read = []

    def reading():
        for number in count():
            read.append(number)
            yield made(number)

    batches = copying.there(reading(), device=CPU)
    for number in range(4):
        assert int(next(batches).images[0]) == number
        assert read == list(range(number + 2))


def test_a_training_ends_in_the_same_bytes_whether_or_not_it_is_stopped(clock, tmp_path, monkeypatch):
    with monkeypatch.context() as plain:
        plain.setattr(copying, "lane_of", lambda device: None)
        train(tmp_path / "plain", Small(dropout=0.2))
    train(tmp_path / "whole", Small(dropout=0.2))
    copied = len(clock.copies)
    assert products(tmp_path / "whole") == products(tmp_path / "plain")
    with pytest.raises(SystemExit):
        train(tmp_path / "stopped", Doomed(at=13, deed=lambda: os.kill(os.getpid(), signal.SIGTERM), dropout=0.2))
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]
    train(tmp_path / "stopped", Small(dropout=0.2))
    assert products(tmp_path / "stopped") == products(tmp_path / "plain")
    # all that was copied twice is what was under way when it was stopped
    assert len(clock.copies) == 2 * copied + 1


def test_the_lane_of_a_gpu_is_a_stream_that_waits_for_what_is_queued(monkeypatch):
    """Of torch's streams only the names are imagined here; the last test has real ones where there is a GPU."""
    streams = MagicMock()
    for name in ("Stream", "stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, getattr(streams, name))
    lane = copying.lane_of(torch.device("cuda", 0))
    with lane.open():
        streams.copied()
    lane.passed(lane.end())
    own, computing = streams.Stream.return_value, streams.current_stream.return_value
    told = [name for name, _, _ in streams.mock_calls if name != "current_stream"]
    assert told[:4] == ["Stream", "Stream().wait_stream", "stream", "stream().__enter__"]
    assert told.index("copied") < told.index("Stream().record_event")
    own.wait_stream.assert_called_once_with(computing)
    computing.wait_event.assert_called_once_with(own.record_event.return_value)
    streams.stream.assert_called_once_with(own)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_real_gpu_computes_with_what_was_read():
    device, side = torch.device("cuda", 0), 4096

    def reading():
        for number in range(40):
            images = torch.full((side, side), number, dtype=torch.float32).pin_memory()
            yield Batch(images=images, targets=images[0], epochs=images[0], cases=images[0])

    sums, used = [], []
    for batch in copying.there(reading(), device=device):
        # long enough for many copies
        product = batch.images @ torch.eye(side, device=device)
        sums.append(product.sum() / side**2)
        used.append(torch.cuda.memory_allocated(device))
        del batch, product
    assert torch.stack(sums).tolist() == list(range(40))
    assert max(used[5:]) == min(used[5:])
