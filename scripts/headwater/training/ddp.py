"""Ranks: the processes that share one training, and what they have to tell each other.

Without torchrun there is one rank, and everything here is quiet.

The number of ranks changes no loss and no gradient but by rounding: in float64, one and two ranks agree to 1e-13. In
float32 sums over ranks are added in another order. A step then differs by about 1e-7, and by up to a percent of one
gradient where an activation crosses the kink of a ReLU, so long trainings end in different weights, as they do on
another processor. One difference is real: dropout and stochastic depth draw anew for each rank.
"""

import datetime
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.core.memory import keep_freed_memory
from headwater.models.timm_library import timm

Wanted = Literal["auto", "cpu", "cuda"]
"""What shall compute: `auto` takes GPUs where there are any."""

PATIENCE = datetime.timedelta(hours=2)
"""How long a rank waits for the others, who may be reading a slow disk, before it gives up."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Which of how many ranks this process is, and the device that it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this rank is the one that writes files."""
        return self.rank == 0


@contextmanager
def world(*, threads: int, device: Wanted = "auto") -> Iterator[World]:
    """The world that torchrun describes in RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE; without them one rank."""
    rank, size, local, here = (
        int(os.environ.get(name, default))
        for name, default in [("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1)]
    )
    device = _device(device, local=local, here=here)
    torch.set_num_threads(threads)
    keep_freed_memory()
    # the quickest algorithm of the moment may differ from run to run, and a resumed training must not
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    if device.type == "cuda":
        # cuBLAS asks for it; where an operation has no deterministic form torch warns
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    if size > 1:
        # small news between ranks goes by the CPU, so that no rank has to wait for its GPU
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield World(rank=rank, size=size, device=device)
    finally:
        if size > 1:
            dist.destroy_process_group()


def _device(wanted: Wanted, *, local: int, here: int) -> torch.device:
    """The GPU of rank number `local` of the `here` ranks of this machine, or the CPU.

    Every rank refuses alike, so that the one that speaks is among them.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    given = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu.strip() not in ("", "-1")]
    if not torch.cuda.is_available():
        if given or wanted == "cuda":
            raise UserError(
                f"torch finds no GPU, though {'this job was given ' + ','.join(given) if given else 'one is wanted'}",
                remedy="look at nvidia-smi and at torch.version.cuda, or set compute.device: cpu",
            )
        return torch.device("cpu")
    available = torch.cuda.device_count()
    if available < here:
        raise UserError(
            f"{here} ranks on this machine need {here} GPUs: there are {available}",
            remedy="lower compute.ranks, or ask for more GPUs",
        )
    if given and available > here and local == 0:
        idle = f"{available - here} of the {available} GPUs of this job are idle: {here} ranks"
        print(idle, file=sys.stderr, flush=True)
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def any_rank(flag: bool, world: World) -> bool:
    """Whether the flag is up on any rank; every rank gets the same answer."""
    if world.size == 1:
        return flag
    raised = torch.tensor(int(flag))
    dist.all_reduce(raised, dist.ReduceOp.MAX)
    return bool(raised)


def barrier(world: World) -> None:
    """Return once every rank has come here."""
    any_rank(False, world)


def total(tensor: Tensor, world: World) -> Tensor:
    """The sum of a tensor over the ranks."""
    if world.size == 1:
        return tensor
    summed = tensor.clone()
    dist.all_reduce(summed)
    return summed


def gather(tensor: Tensor, world: World) -> Tensor:
    """The ranks' tensors one after another, in the order of ranks; their first dimension may differ."""
    if world.size == 1:
        return tensor
    lengths = torch.zeros(world.size, dtype=torch.int64)
    lengths[world.rank] = len(tensor)
    dist.all_reduce(lengths)
    # collectives need equal shapes: all are made as long as the longest, and cut again
    padded = tensor.new_zeros((int(lengths.max()), *tensor.shape[1:]))
    padded[: len(tensor)] = tensor
    pieces = [torch.empty_like(padded) for _ in range(world.size)]
    dist.all_gather(pieces, padded)
    return torch.cat([piece[:length] for piece, length in zip(pieces, lengths.tolist(), strict=True)])


def share(count: int, world: World) -> np.ndarray:
    """The positions of range(count) that belong to this rank, each to exactly one rank; nothing is padded."""
    return np.arange(world.rank, count, world.size)


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """A function that says whether SIGTERM or SIGUSR1 came, which end nothing by themselves inside the block."""
    came: list[int] = []
    watched = (signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in watched}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def precision(wanted: str, device: torch.device) -> torch.dtype | None:
    """The number format of autocast on a device, None for plain float32; `auto` is bf16 where a GPU has it."""
    if wanted == "fp16" and device.type == "cpu":
        raise UserError("precision fp16 needs a GPU", remedy="set precision: auto")
    if wanted == "auto":
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bf16 else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]


def with_shared_statistics(model: nn.Module, world: World) -> nn.Module:
    """The model with each BatchNorm computed over all ranks' cases, so that the number of ranks changes nothing."""
    if world.size == 1:
        return model
    if world.device.type == "cuda":
        return timm.layers.convert_sync_batchnorm(model)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and not isinstance(child, SharedBatchNorm):
                setattr(module, name, SharedBatchNorm(child, ranks=world.size))
    return model


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over all ranks' cases on the CPU, where torch's own SyncBatchNorm does not run.

    Takes over the parameters, buffers and state names of `norm`, and timm's activation after it. Every rank holds
    the same number of cases.
    """

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm, *, ranks: int):
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._parameters, self._buffers, self._modules = norm._parameters, norm._buffers, norm._modules
        self.ranks = ranks
        self.training = norm.training

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x (batch, channels, ...), and what timm's layer does after it."""
        normalised = self._over_ranks(x) if self.training else super().forward(x)
        for after in self._modules.values():
            normalised = after(normalised)
        return normalised

    def _over_ranks(self, x: Tensor) -> Tensor:
        values = x.float()
        over = [dimension for dimension in range(x.ndim) if dimension != 1]
        channels = [1, -1, *[1] * (x.ndim - 2)]
        # equal shares, so the mean over ranks of the means is the mean
        mean = _SumOverRanks.apply(values.mean(over)) / self.ranks
        centred = values - mean.view(channels)
        variance = _SumOverRanks.apply(centred.square().mean(over)) / self.ranks
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach(), count=x.numel() // x.shape[1] * self.ranks)
        normalised = centred * (variance + self.eps).rsqrt().view(channels)
        if self.affine:
            normalised = normalised * self.weight.view(channels) + self.bias.view(channels)
        return normalised.to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, *, count: int) -> None:
        """Move the running statistics towards those of this batch."""
        self.num_batches_tracked.add_(1)
        weight = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance * count / max(count - 1, 1), weight)

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim < 2:
            raise ValueError(f"BatchNorm needs (batch, channels, ...), not {tuple(x.shape)}")


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of a tensor over the ranks, through which gradients flow; alone the tensor itself."""
    alone = not dist.is_initialized() or dist.get_world_size() == 1
    return tensor if alone else _SumOverRanks.apply(tensor)


class _SumOverRanks(torch.autograd.Function):
    """A sum over ranks through which gradients flow: each rank's loss depends on every rank's cases."""

    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:
        summed = tensor.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        summed = gradient.clone()
        dist.all_reduce(summed)
        return summed
