"""Copying: mini-batches go to the GPU on a stream of their own, each while the one before it is computed with."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import torch

from headwater.training.batches import Batch


class Lane(Protocol):
    """A queue of copies to a device, beside that of its computations."""

    def open(self) -> AbstractContextManager:
        """A block whose copies are queued in the lane, behind all computations that are queued already.

        The memory that they are copied to is the lane's. So what was in it before has been computed with.
        """

    def end(self) -> object:
        """A mark behind all that is queued in the lane."""

    def passed(self, mark: object) -> None:
        """Let all computations that are queued from now on begin after what is before the mark."""


class OfGpu:
    """The lane of a GPU: a stream beside the current one, which computes. The CPU waits for neither."""

    def __init__(self, device: torch.device):
        self.device, self.stream = device, torch.cuda.Stream(device)

    def open(self) -> AbstractContextManager:
        """The block in which the stream is the current one."""
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        return torch.cuda.stream(self.stream)

    def end(self) -> torch.cuda.Event:
        """An event at the end of the stream."""
        return self.stream.record_event()

    def passed(self, mark: torch.cuda.Event) -> None:
        """Let the computing stream wait for the event."""
        torch.cuda.current_stream(self.device).wait_event(mark)


def lane_of(device: torch.device) -> Lane | None:
    """The lane of a device; a CPU has none, as nothing is copied to it."""
    return OfGpu(device) if device.type == "cuda" else None


def there(batches: Iterator[Batch], *, device: torch.device) -> Iterator[Batch]:
    """The batches on the device, in their order; while one is computed with, the next is copied.

    Nothing has to be told when memory may be used again. Of the pinned memory that is copied from, torch's allocator
    knows which stream reads it. What is copied to comes from the lane, and each copy there waits for all computations
    that were queued before it: those with the next to last batch among them, but not those with the last, which are
    queued afterwards.
    """
    lane, ahead = lane_of(device), None
    for batch in batches:
        if lane is None:
            yield batch.to(device)
            continue
        with lane.open():
            copy = batch.to(device)
        ready, ahead = ahead, (copy, lane.end())
        if ready is not None:
            yield _handed(*ready, lane=lane)
    if ahead is not None:
        yield _handed(*ahead, lane=lane)


def _handed(batch: Batch, mark: object, *, lane: Lane) -> Batch:
    """A copy, for the computations that are queued from now on."""
    lane.passed(mark)
    return batch
