"""Machine load: how fast a training goes and how much memory it takes, measured without a name of the machine."""

import time
from collections.abc import Iterator
from typing import TypeVar

import psutil
import torch

from headwater.training.ddp import World
from headwater.training.trackers.csv import GPU_MEMORY

GIB = 2**30

Item = TypeVar("Item")


class MachineLoad:
    """Images per second of all ranks, and of the first one the memory and the time it waits, between two readings."""

    def __init__(self, *, batch: int, world: World):
        self.batch = batch
        self.device = world.device
        self.process = psutil.Process()
        self.steps = 0
        self.seconds = self.waited = 0.0
        self.began: float | None = None
        self.share = 0.0
        """The share of the time of the last steps that was spent waiting for their images."""
        self.all_seconds = self.all_waited = 0.0
        """The same two since the training began or was resumed."""

    @property
    def share_of_all(self) -> float | None:
        """The share of the time of all steps that was spent waiting, none without a step."""
        return self.all_waited / self.all_seconds if self.all_seconds else None

    def step_begins(self) -> None:
        """Start to count the time of steps, unless it is being counted."""
        if self.began is None:
            self.began = time.monotonic()

    def step_ends(self) -> None:
        """Count a step."""
        self.steps += 1

    def waiting(self, batches: Iterator[Item]) -> Iterator[Item]:
        """The batches, counting the time until each is there; the first of all is not waited for, but begun with."""
        while True:
            since = time.monotonic()
            batch = next(batches, None)
            if batch is None:
                return
            if self.began is not None:
                self.waited += time.monotonic() - since
            yield batch

    def pause(self) -> None:
        """Count no time until the next step begins: the losses have been read, so the device has done all steps."""
        if self.began is not None:
            self.seconds += time.monotonic() - self.began
            self.began = None

    def read(self) -> dict[str, float]:
        """What has been measured since the last reading."""
        self.pause()
        measured = {"machine/memory_gib": self.process.memory_info().rss / GIB}
        if self.seconds > 0:
            measured["machine/images_per_second"] = self.steps * self.batch / self.seconds
            measured["machine/waiting"] = self.share = self.waited / self.seconds
        if self.device.type == "cuda":
            measured[GPU_MEMORY] = torch.cuda.max_memory_allocated(self.device) / GIB
        self.all_seconds, self.all_waited = self.all_seconds + self.seconds, self.all_waited + self.waited
        self.steps, self.seconds, self.waited = 0, 0.0, 0.0
        return measured
