"""Sharding: weights, gradients and moments are split among the ranks of a training, by torch's `fully_shard` (FSDP2).

Each block of a network is gathered when it computes, and let go of afterwards (Zhao et al. 2023, arXiv 2304.11277).
"""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from headwater.core.errors import UserError
from headwater.study.recipe import Training
from headwater.study.split_checks import unsplit
from headwater.training.ddp import World


def check(learner: nn.Module, training: Training, world: World) -> None:
    """Refuse a training whose weights cannot be split."""
    how = {"ranks": world.size, "compiled": world.compiled, "compared": learner.compared}
    for why, remedy in unsplit(training, **how):
        raise UserError(f"compute.fsdp: {why}", remedy=remedy)


class Shards(nn.Module):
    """A twin of a learner whose weights are split among the ranks; it is called as DDP's wrapper is.

    The learner itself stays whole and plain: emptied, it can be filled whenever it is to be evaluated.
    """

    def __init__(self, learner: nn.Module, world: World):
        super().__init__()
        self.learner = _twin(learner)
        split(self, world)

    def forward(self, inputs: Any, aims: Any) -> Tensor:
        """The learner's loss."""
        return self.learner(inputs, aims)

    def no_sync(self) -> AbstractContextManager:
        """A block of a part of a batch: its gradients are summed at once, as a rank keeps its share of them only."""
        return nullcontext()


def split(network: nn.Module, world: World) -> None:
    """Split the weights of a network in place: each of its blocks is a unit, and all the rest is another one."""
    mesh = init_device_mesh(world.device.type, (world.size,))
    for weight in network.parameters():
        # channels last, as GPUs have them, would be refused
        weight.data = weight.data.contiguous()
    for block in _blocks(network):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The blocks of a network, those that lie in others first."""
    for module in reversed(list(network.modules())):
        if isinstance(blocks := getattr(module, "blocks", None), nn.Sequential | nn.ModuleList):
            yield from blocks


def whole_at_once(network: nn.Module) -> int:
    """Bytes of the weights of a network that a rank has whole at once: of its largest block, and of what is in none."""
    of_blocks = [{weight: weight.nbytes for weight in block.parameters()} for block in _blocks(network)]
    inside = {weight for block in of_blocks for weight in block}
    rest = sum(weight.nbytes for weight in network.parameters() if weight not in inside)
    return rest + max((sum(block.values()) for block in of_blocks), default=0)


def _twin(learner: nn.Module) -> nn.Module:
    """A copy of a learner in the same memory, with parameters of its own."""
    shared = [
        tensor
        for module in learner.modules()
        # among the attributes is what weight_norm has made of weights, which cannot be copied
        for tensor in (*module._buffers.values(), *vars(module).values())
        if isinstance(tensor, Tensor)
    ]
    weights = {
        id(weight): nn.Parameter(weight.data, requires_grad=weight.requires_grad) for weight in learner.parameters()
    }
    return copy.deepcopy(learner, {id(tensor): tensor for tensor in shared} | weights)


def empty(network: nn.Module) -> None:
    """Let go of the memory of a network's weights, but not of their shapes and layouts."""
    for weight in network.parameters():
        weight.untyped_storage().resize_(0)


@torch.no_grad()
def fill(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give an emptied network its memory again, with these weights and buffers; all ranks must if they are split."""
    for weight in network.parameters():
        weight.untyped_storage().resize_(weight.nbytes)
    for name, own in network.state_dict().items():
        own.copy_(_whole(tensors[name]))


def gathered(held: Any, world: World) -> Any:
    """What the first rank saves: whole tensors on the CPU in place of split ones. All ranks must ask for it."""

    def told(tensor: DTensor) -> Tensor | None:
        whole = _whole(tensor)
        return whole.cpu() if world.first else None

    return tree_map_only(DTensor, told, held)


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(own: Tensor, whole: Tensor) -> Tensor:
    """A whole tensor, split if one's own is."""
    if not isinstance(own, DTensor):
        return whole
    # without a word to the others, as each rank has all of it
    return distribute_tensor(whole.to(own.device), own.device_mesh, own.placements, src_data_rank=None)
