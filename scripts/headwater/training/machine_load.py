"""Machine load: how fast a training goes and how much memory it takes, measured without a name of the machine."""

import time

import psutil
import torch

from headwater.training.ddp import World

GIB = 2**30


class MachineLoad:
    """Images per second of all ranks, and the memory of the first rank and its GPU, between two readings."""

    def __init__(self, *, batch: int, world: World):
        self.batch = batch
        self.device = world.device
        self.process = psutil.Process()
        self.steps = 0
        self.seconds = 0.0
        self.began: float | None = None

    def step_begins(self) -> None:
        """Start to count the time of steps, unless it is being counted."""
        if self.began is None:
            self.began = time.monotonic()

    def step_ends(self) -> None:
        """Count a step."""
        self.steps += 1

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
        if self.device.type == "cuda":
            measured["machine/gpu_memory_gib"] = torch.cuda.max_memory_allocated(self.device) / GIB
        self.steps, self.seconds = 0, 0.0
        return measured
