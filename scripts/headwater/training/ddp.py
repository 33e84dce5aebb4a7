"""Distributed data-parallel training (DDP): the ranks of one training and the collectives between them.

Without torchrun there is one rank, and the functions here communicate with nobody.

The number of ranks changes losses and gradients only by rounding: in float64, one and two ranks agree to 1e-13. In
float32 an all-reduce adds in another order. A step then differs by about 1e-7, or by up to a percent of a gradient
where an activation crosses the kink of a ReLU, so long trainings end in different weights, as they do on another
processor. One difference is not rounding: dropout and stochastic depth are drawn separately on each rank.
"""

import datetime
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from headwater.core.errors import INTERRUPTED, UserError
from headwater.core.memory import keep_freed_memory
from headwater.models import compiled
from headwater.models.timm_library import timm

DeviceChoice = Literal["auto", "cpu", "cuda"]
"""The config's choice of device: `auto` takes GPUs if there are any."""

STOPPED = 143
"""The exit code of a training that a scheduler has stopped, after it has saved its progress."""

TIMEOUT = datetime.timedelta(hours=2)
"""How long a collective waits for the other ranks, which may be reading from a slow disk."""


@dataclass(frozen=True, kw_only=True)
class World:
    """This process's rank, the number of ranks, the device that it computes on, and how it does."""

    rank: int
    size: int
    device: torch.device
    compiled: bool = False
    """Whether torch compiles networks."""
    sharded: bool = False
    """Whether weights, gradients and moments are split among the ranks."""
    memory: int | None = None
    """Bytes of the device's memory, if the config says them."""

    @property
    def first(self) -> bool:
        """Whether this is the first rank, the only one that writes files."""
        return self.rank == 0

    @property
    def record(self) -> dict[str, int]:
        """How a training was computed, for its record; what is as usual is left out."""
        unusual = {"compiled": self.compiled, "fsdp": self.sharded}
        return {"ranks": self.size, **{name: True for name, is_so in unusual.items() if is_so}}


@contextmanager
def world(
    *,
    threads: int,
    device: DeviceChoice = "auto",
    compile: bool = False,
    fsdp: bool = False,
    gpu_memory: float | None = None,
) -> Iterator[World]:
    """The world that torchrun sets in RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE; one rank without them.

    `gpu_memory` is in GB.
    """
    rank, size, local, local_size = (
        int(os.environ.get(name, default))
        for name, default in [("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1)]
    )
    device = _device(device, local=local, local_size=local_size)
    torch.set_num_threads(threads)
    keep_freed_memory()
    # cuDNN's benchmark picks the fastest algorithm, which may differ between runs; a resumed training must not differ
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    # torch lets convolutions round to TF32 even where float32 is asked for; `tensor_float` allows it where it is wanted
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if device.type == "cuda":
        # cuBLAS is deterministic only with this setting; operations without a deterministic form warn
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # torch then also fills all that it allocates, hundreds of times a step; nothing is read before it is written
        torch.utils.deterministic.fill_uninitialized_memory = False
    if size > 1:
        # flags are exchanged over the CPU (gloo), so that no rank has to synchronise with its GPU for them
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        if compile:
            compiled.prepare(device)
        memory = int(gpu_memory * 1e9) if gpu_memory else None
        yield World(rank=rank, size=size, device=device, compiled=compile, sharded=fsdp, memory=memory)
    finally:
        if size > 1:
            dist.destroy_process_group()


def _device(choice: DeviceChoice, *, local: int, local_size: int) -> torch.device:
    """The GPU of this rank (number `local` of `local_size` on this machine), or the CPU.

    All ranks check the same and raise the same error, because only the first rank's is printed.
    """
    if choice == "cpu":
        return torch.device("cpu")
    visible = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu.strip() not in ("", "-1")]
    if not torch.cuda.is_available():
        if visible or choice == "cuda":
            reason = f"CUDA_VISIBLE_DEVICES is {','.join(visible)}" if visible else "compute.device is cuda"
            raise UserError(
                f"torch finds no GPU, although {reason}",
                remedy="check nvidia-smi and torch.version.cuda, or set compute.device: cpu",
            )
        return torch.device("cpu")
    available = torch.cuda.device_count()
    if available < local_size:
        raise UserError(
            f"{local_size} ranks on this machine need {local_size} GPUs, but there are {available}",
            remedy="lower compute.ranks, or request more GPUs",
        )
    if visible and available > local_size and local == 0:
        idle = f"{available - local_size} of this job's {available} GPUs are idle (ranks: {local_size})"
        print(idle, file=sys.stderr, flush=True)
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def device_name(device: torch.device) -> str:
    """The kind of a device: a GPU's model, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def any_rank(flag: bool, world: World) -> bool:
    """Whether the flag is true on any rank; all ranks get the same result."""
    if world.size == 1:
        return flag
    largest = torch.tensor(int(flag))
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return bool(largest)


def barrier(world: World) -> None:
    """Return once all ranks have called this."""
    any_rank(False, world)


def total(tensor: Tensor, world: World) -> Tensor:
    """The sum of a tensor over the ranks."""
    if world.size == 1:
        return tensor
    # all_reduce writes in place
    summed = tensor.clone()
    dist.all_reduce(summed)
    return summed


@torch.no_grad()
def average(tensor: Tensor, world: World) -> None:
    """Replace a tensor by its mean over the ranks."""
    if world.size > 1:
        dist.all_reduce(tensor)
        tensor /= world.size


def of_first(values: Sequence[float], world: World) -> list[float]:
    """The numbers that the first rank passes, on every rank; the others pass as many of any value."""
    told = torch.tensor(values, dtype=torch.float64)
    if world.size > 1:
        dist.broadcast(told, src=0)
    return told.tolist()


def gather(tensor: Tensor, world: World) -> Tensor:
    """The ranks' tensors concatenated in the order of ranks; their first dimensions may differ."""
    if world.size == 1:
        return tensor
    lengths = torch.zeros(world.size, dtype=torch.int64)
    lengths[world.rank] = len(tensor)
    dist.all_reduce(lengths)
    # all_gather needs equal shapes: pad to the longest, then cut
    padded = tensor.new_zeros((int(lengths.max()), *tensor.shape[1:]))
    padded[: len(tensor)] = tensor
    pieces = [torch.empty_like(padded) for _ in range(world.size)]
    dist.all_gather(pieces, padded)
    return torch.cat([piece[:length] for piece, length in zip(pieces, lengths.tolist(), strict=True)])


def share(count: int, world: World) -> np.ndarray:
    """This rank's positions of range(count); each belongs to exactly one rank, without padding."""
    return np.arange(world.rank, count, world.size)


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """A function that gives the exit code for the first signal to stop that was received, 0 without one.

    SIGTERM, SIGUSR1 and SIGINT (Ctrl-C), however often they come, do not end the process inside the block.
    """
    received: list[int] = []
    watched = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    previous = {number: signal.signal(number, lambda number, _: received.append(number)) for number in watched}
    try:
        yield lambda: 0 if not received else INTERRUPTED if received[0] == signal.SIGINT else STOPPED
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def precision(name: str, device: torch.device) -> torch.dtype | None:
    """The dtype for autocast on a device, None for float32 and TF32; `auto` is bf16 if the GPU supports it."""
    if name in ("fp16", "tf32") and device.type == "cpu":
        raise UserError(f"precision {name} needs a GPU", remedy="set precision: auto")
    if name == "auto":
        # older GPUs emulate bf16, without its speed
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bf16 else None
    return {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


@contextmanager
def tensor_float(precision: str) -> Iterator[None]:
    """A block in which GPUs round what they multiply to TF32 (10 of 23 bits of a fraction) if the precision says so."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = precision == "tf32"
        yield
    finally:
        for place, allowed in zip(places, before, strict=True):
            place.allow_tf32 = allowed


def with_shared_statistics(model: nn.Module, world: World) -> nn.Module:
    """The model with synchronised BatchNorm: statistics over all ranks' cases, whatever the number of ranks."""
    if world.size == 1:
        return model
    if world.device.type == "cuda":
        return timm.layers.convert_sync_batchnorm(model)
    # lists, because replacing layers changes the modules that are iterated over
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and not isinstance(child, SharedBatchNorm):
                setattr(module, name, SharedBatchNorm(child, ranks=world.size))
    return model


def shared_norms(model: nn.Module) -> list[nn.Module]:
    """The layers of a model whose statistics are over the ranks."""
    return [module for module in model.modules() if isinstance(module, SharedBatchNorm | nn.SyncBatchNorm)]


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Synchronised BatchNorm for the CPU, which torch's own SyncBatchNorm does not support.

    It takes over the parameters, buffers and state names of `norm`, and the activation inside timm's BatchNorm layers.
    Every rank must have the same number of cases.
    """

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm, *, ranks: int):
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        # shared dictionaries: the parameters stay the same objects under the same names
        self._parameters, self._buffers, self._modules = norm._parameters, norm._buffers, norm._modules
        self.ranks = ranks
        self.training = norm.training

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x (batch, channels, ...), after the activation of timm's layer if it has one."""
        normalised = self._over_ranks(x) if self.training else super().forward(x)
        for submodule in self._modules.values():
            normalised = submodule(normalised)
        return normalised

    def _over_ranks(self, x: Tensor) -> Tensor:
        values = x.float()
        reduced = [dimension for dimension in range(x.ndim) if dimension != 1]
        channels = [1, -1, *[1] * (x.ndim - 2)]
        # all ranks have equally many values, so the mean of their means is the mean of all
        mean = _SumOverRanks.apply(values.mean(reduced)) / self.ranks
        # the mean first, then squared deviations: E[x²] - E[x]² would cancel where the mean is large
        centred = values - mean.view(channels)
        variance = _SumOverRanks.apply(centred.square().mean(reduced)) / self.ranks
        if self.track_running_stats:
            self._update_running(mean.detach(), variance.detach(), count=x.numel() // x.shape[1] * self.ranks)
        normalised = centred * (variance + self.eps).rsqrt().view(channels)
        if self.affine:
            normalised = normalised * self.weight.view(channels) + self.bias.view(channels)
        return normalised.to(x.dtype)

    def _update_running(self, mean: Tensor, variance: Tensor, *, count: int) -> None:
        """Update the running statistics with those of this batch."""
        self.num_batches_tracked.add_(1)
        # as in torch's BatchNorm: without a momentum the running statistics are the plain average over all batches
        weight = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        # as in torch, the running variance is the unbiased one, though the batch is normalised by the biased one
        self.running_var.lerp_(variance * count / max(count - 1, 1), weight)

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim < 2:
            raise ValueError(f"BatchNorm needs (batch, channels, ...), not {tuple(x.shape)}")


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of a tensor over the ranks, differentiable; the tensor itself if there is one rank."""
    alone = not dist.is_initialized() or dist.get_world_size() == 1
    return tensor if alone else _SumOverRanks.apply(tensor)


class _SumOverRanks(torch.autograd.Function):
    """A differentiable all-reduce."""

    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:
        summed = tensor.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        # the sum enters every rank's loss, so its gradient is the sum of all ranks' gradients
        summed = gradient.clone()
        dist.all_reduce(summed)
        return summed
