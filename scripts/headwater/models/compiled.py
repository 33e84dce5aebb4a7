"""Compiled passes: torch.compile turns the layers of a network into fewer, larger kernels before they first run.

Parameters, buffers and their names stay as they are; numbers change by rounding, as on another processor.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from headwater.core.errors import UserError

BACKEND = "inductor"
VARIANTS = 64
"""Kinds of inputs, such as large and small views, for which one function may be compiled."""

OPTIONS = {"inductor": {"fallback_random": True, "deterministic": True}}
"""Dropout is drawn as without compiling; and no kernel is chosen by its speed where that changes numbers."""

REMEDY = "set compute.compile: false"


def in_place(module: nn.Module) -> None:
    """Compile what a module does when it is called."""
    module.compile(**_how())


def function(made: Callable) -> Callable:
    """A compiled function."""
    return torch.compile(made, **_how())


def _how() -> dict[str, Any]:
    # each shape by itself: kernels for any shape are only made once shapes have differed, so that a training that is
    # resumed would have others than before
    return {"backend": BACKEND, "dynamic": False, "options": OPTIONS.get(BACKEND)}


def leave_out(module: nn.Module) -> None:
    """Let a module run as it is, also inside of what is compiled."""
    module.forward = torch.compiler.disable(module.forward)


def prepare(device: torch.device) -> None:
    """Set torch's compiler up; refuses a machine that lacks what it needs, before anything is trained."""
    # by default torch goes on without compiling once it has compiled a function eight times, and says so in its log
    torch._dynamo.config.recompile_limit = VARIANTS
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    with told():
        function(lambda x: x.sin() + 1)(torch.ones(2, device=device))


@contextmanager
def told() -> Iterator[None]:
    """A block in which what torch cannot compile is told in one line."""
    try:
        yield
    except torch._dynamo.exc.TorchDynamoException as error:
        cause = getattr(error, "inner_exception", error)
        first = next(filter(None, map(str.strip, str(cause).splitlines())), "it gives no reason")
        raise UserError(f"torch cannot compile here ({type(cause).__name__}: {first})", remedy=REMEDY) from None


@contextmanager
def passed_over() -> Iterator[None]:
    """A block in which compiled modules and functions run as they were before."""
    with torch.compiler.set_stance("force_eager"):
        yield
