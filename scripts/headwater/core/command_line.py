"""Doors: a function's signature is its command line, and a refusal is one line with a non-zero exit."""

import argparse
import atexit
import gc
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path

import pydantic

from headwater.core.errors import UserError, exit_on_user_error
from headwater.core.records import Record
from headwater.core.registry import mistakes

FINISHED: list[bool] = []
"""Not empty once this process' own command has done its work."""


def _leave() -> None:
    """End the process at once after a command that succeeded.

    Python would take thousands of modules apart, which costs a second of every job that imports torch, and sets nothing
    free that the end of the process does not. After a failure it ends as usual.
    """
    if FINISHED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


# registered before anything else is imported, and so called after everybody else's exit functions
atexit.register(_leave)

# what a command imports lives to its end: to look through it for garbage time and again takes a quarter of the time;
# a door sets it aside, and goes on with a measure that is fit for work
gc.set_threshold(1_000_000, 50, 100)
AT_WORK = 50_000, 20, 100

CHOSEN = "chosen function"
"""Where the command that was named stands among the parsed values; no parameter can have this name."""


def door(function: Callable, arguments: list[str] | None = None) -> None:
    """Run `function` with its keyword-only parameters read from the command line; exit 2 on a refusal.

    `Path`, `int`, `float` and `str` parameters take one word, `list[...]` several, `Literal` one of its own, `bool`
    is a flag, a record its JSON (or `@file`). The first line of the docstring is the help text.
    """
    _set_imports_aside()
    parser = argparse.ArgumentParser(prog=Path(sys.argv[0]).name, **_described(function))
    _add_all(parser, function)
    with exit_on_user_error(function.__name__):
        function(**vars(parser.parse_args(arguments)))
    if _is_a_door():
        FINISHED.append(True)


def _is_a_door() -> bool:
    """Whether this process was started as one of the scripts beside the library, and so does nothing else."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    return script is not None and Path(script).resolve().parent == Path(__file__).resolve().parents[2]


def doors(functions: dict[str, Callable], arguments: list[str] | None = None, *, otherwise: str = "") -> None:
    """Run the function whose name comes first on the command line.

    Without a name run the one named by `otherwise`; without that, too, print them all and exit 2.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if otherwise and (not arguments or (arguments[0].startswith("--") and arguments[0] != "--help")):
        arguments = [otherwise, *arguments]
    _set_imports_aside()
    parser = argparse.ArgumentParser(prog=Path(sys.argv[0]).name)
    named = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, function in functions.items():
        described = _described(function)
        first = described["description"].partition("\n")[0].replace("%", "%%")
        command = named.add_parser(name, help=first, **described)
        command.set_defaults(**{CHOSEN: function})
        _add_all(command, function)
    if not arguments:
        parser.print_help(sys.stderr)
        sys.exit(2)
    with exit_on_user_error(arguments[0]):
        values = vars(parser.parse_args(arguments))
        values.pop(CHOSEN)(**values)


def _set_imports_aside() -> None:
    """Look for garbage among what is made from now on."""
    gc.freeze()
    # some libraries count what is left at the end, and would complain
    atexit.register(gc.unfreeze)
    gc.set_threshold(*AT_WORK)


def _described(function: Callable) -> dict[str, typing.Any]:
    """How a function's docstring is shown."""
    return {"description": inspect.getdoc(function), "formatter_class": argparse.RawTextHelpFormatter}


def _add_all(parser: argparse.ArgumentParser, function: Callable) -> None:
    """Every parameter of the function as an argument of the command line."""
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        _add(parser, name, parameter, hints[name])


def _add(parser: argparse.ArgumentParser, name: str, parameter: inspect.Parameter, hint: typing.Any) -> None:
    """One parameter of the function as one argument of the command line."""
    flag = name if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD else "--" + name.replace("_", "-")
    settings: dict[str, typing.Any] = {}
    required = parameter.default is inspect.Parameter.empty
    if flag.startswith("--"):
        settings |= {"required": required, "dest": name}
    if not required:
        settings["default"] = parameter.default
        if not flag.startswith("--"):
            settings["nargs"] = "?"
    if hint is bool:
        parser.add_argument(flag, dest=name, default=parameter.default, action=argparse.BooleanOptionalAction)
        return
    kind = _without_none(hint)
    if typing.get_origin(kind) is list:
        settings["nargs"] = "*"
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is typing.Literal:
        parser.add_argument(flag, choices=typing.get_args(kind), **settings)
        return
    settings["type"] = _reader(kind)
    settings["metavar"] = "JSON" if isinstance(kind, type) and issubclass(kind, Record) else name.upper()
    parser.add_argument(flag, **settings)


def _without_none(hint: typing.Any) -> typing.Any:
    """`X` for `X | None`."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(inner for inner in typing.get_args(hint) if inner is not type(None))
    return hint


def _reader(kind: typing.Any) -> Callable[[str], typing.Any]:
    """What turns one word of the command line into a value of `kind`."""
    if isinstance(kind, type) and issubclass(kind, Record):
        return lambda text: _record(kind, text)
    return kind


def _record(kind: type[Record], text: str) -> Record:
    """A record from its JSON, or from the file named after an `@`."""
    try:
        return kind.from_json(Path(text[1:]).read_text() if text.startswith("@") else text)
    except pydantic.ValidationError as error:
        raise UserError("; ".join(mistakes(error, kind, prefix=kind.__name__))) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{kind.__name__}: {error}") from None
