"""Whether a module holds what `Scheduler` asks for: for the plug-ins, and for a scheduler that only tests have."""

import inspect
import typing
from types import ModuleType

from headwater.cluster.schedulers import Scheduler

CONSTANTS = Scheduler.__annotations__
FUNCTIONS = {
    name: function
    for name, function in vars(Scheduler).items()
    if inspect.isfunction(function) and not name.startswith("_")
}


def parameters(name: str) -> tuple[str, ...]:
    """The parameters of a function of the protocol."""
    return tuple(inspect.signature(FUNCTIONS[name]).parameters)[1:]


def assert_fulfilled(scheduler: ModuleType) -> None:
    """Not the names alone: kinds, annotations and defaults of all parameters, and the types of the constants."""
    for wanted, function in FUNCTIONS.items():
        signature = inspect.signature(function)
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])
        assert inspect.signature(getattr(scheduler, wanted)) == signature, wanted
    for wanted, kind in CONSTANTS.items():
        assert isinstance(getattr(scheduler, wanted), typing.get_origin(kind) or kind), wanted
