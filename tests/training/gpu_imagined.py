"""A GPU that is only imagined: tensors with shapes and a device, on which whatever makes the CPU wait is told.

torch's fake tensors name a device that need not be there. Reading a number of theirs, or a shape that depends on their
values, raises an error of torch; copies between CPU and GPU that block, and indices that lie on the CPU, are told here.
"""

from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

GPU = torch.device("cuda", 0)

COPIES = ("aten::_to_copy", "aten::copy_")


class Waits(AssertionError):
    """The CPU would wait for the GPU."""


class _Watched(TorchDispatchMode):
    """Tells of copies between devices that block, and of operations for which torch makes such a copy itself."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, function.name()
        if name.startswith("aten::arange") and torch.device(kwargs.get("device") or "cpu").type == "cpu":
            # MONAI counts axes with such tensors, which are read from the CPU
            with unset_fake_temporarily():
                return function(*args, **kwargs)
        said = function(*args, **kwargs)
        leaves = torch.utils._pytree.tree_leaves((args, kwargs, said))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if len({tensor.device.type for tensor in tensors}) > 1:
            if name in COPIES:
                waits = not (kwargs.get("non_blocking") or True in args[2:])
            else:
                # kernels take single numbers from the CPU as arguments, unless they are chosen from
                waits = name == "aten::where.self" or any(each.ndim for each in tensors if each.device.type == "cpu")
            if waits:
                raise Waits(f"{name} of {[(str(each.device), tuple(each.shape)) for each in tensors]}")
        return said


@contextmanager
def imagined():
    """A block in which all that is made on `GPU` is imagined."""
    with FakeTensorMode(allow_non_fake_inputs=True), _Watched(), patch.object(Tensor, "pin_memory", lambda held: held):
        yield


def like(tensor: Tensor) -> Tensor:
    """A tensor of the same form on the GPU; within `imagined`."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=GPU)


def moved(network: nn.Module) -> nn.Module:
    """The network itself with its parameters and buffers on the GPU; within `imagined`."""
    known: dict[int, nn.Parameter] = {}
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                made = nn.Parameter(like(parameter), requires_grad=parameter.requires_grad)
                module._parameters[name] = known.setdefault(id(parameter), made)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = like(buffer)
    return network
