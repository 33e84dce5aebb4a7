"""Command lines: a function's signature says which arguments it takes, and a mistake in them is one line and exit 2."""

import atexit
import gc
import os
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path

import cyclopts
import pydantic
from cyclopts import App, CycloptsError, Parameter, Token

from headwater.core.errors import UserError, did_you_mean, exit_on_user_error
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
# a command sets it aside, and goes on with a measure that is fit for work
gc.set_threshold(1_000_000, 50, 100)
AT_WORK = 50_000, 20, 100

HELP_FLAGS = ("--help", "-h")

# cyclopts would make an option of each of a record's fields; here a record is one word of JSON
Parameter(n_tokens=1, accepts_keys=False)(Record)


def door(function: Callable, arguments: Sequence[str] | None = None) -> None:
    """Run a function with its parameters read from the command line; exit 2 on a mistake.

    Keyword-only parameters are options. `Path`, `int`, `float` and `str` take one word, `list[...]` several, `Literal`
    one of its own, `bool` is a flag, a record its JSON (or `@file`). The docstring is the help text.
    """
    run(application(function.__name__, default_command=function, version_flags=()), arguments, name=function.__name__)
    if _is_a_door():
        FINISHED.append(True)


def _is_a_door() -> bool:
    """Whether this process was started as one of the scripts beside the library, and so does nothing else."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    return script is not None and Path(script).resolve().parent == Path(__file__).resolve().parents[2]


def application(name: str, **settings: typing.Any) -> App:
    """A command of cyclopts with the conventions of this project; further settings are those of `cyclopts.App`."""
    return App(
        name=name,
        default_parameter=Parameter(converter=_converted, consume_multiple=True, negative_iterable=()),
        help_flags=HELP_FLAGS,
        help_format="markdown",
        print_error=False,
        exit_on_error=False,
        **settings,
    )


def run(app: App, arguments: Sequence[str] | None = None, *, name: str) -> None:
    """Run what the words of a command line ask for; its mistakes are lines that begin with `name`, and exit 2."""
    with exit_on_user_error(name):
        try:
            command, bound, _ = app.parse_args(arguments)
        except CycloptsError as error:
            raise _in_one_line(error) from None
        _set_imports_aside()
        command(*bound.args, **bound.kwargs)


def _set_imports_aside() -> None:
    """Look for garbage among what is made from now on."""
    gc.freeze()
    # some libraries count what is left at the end, and would complain
    atexit.register(gc.unfreeze)
    gc.set_threshold(*AT_WORK)


# words to values


def _converted(hint: typing.Any, tokens: Sequence[Token]) -> typing.Any:
    """The words of one parameter as a value of its type."""
    kind = _inner(hint)
    if isinstance(kind, type) and issubclass(kind, Record):
        records = [_record(kind, token.value) for token in tokens]
        return records if typing.get_origin(_without_none(hint)) is list else records[0]
    if kind is int:
        for token in tokens:
            _check_whole(token)
    return cyclopts.convert(hint, tokens)


def _check_whole(token: Token) -> None:
    """Refuse 1.5, which cyclopts would round."""
    try:
        int(token.value)
    except ValueError:
        raise UserError(f"{token.keyword or 'a number'} must be a whole number (got {token.value!r})") from None


def _record(kind: type[Record], text: str) -> Record:
    """A record from its JSON, or from the file named after an `@`."""
    try:
        return kind.from_json(Path(text[1:]).read_text() if text.startswith("@") else text)
    except pydantic.ValidationError as error:
        raise UserError("; ".join(mistakes(error, kind, prefix=kind.__name__))) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{kind.__name__}: {error}") from None


def _inner(hint: typing.Any) -> typing.Any:
    """`X` for `X`, `X | None`, `list[X]` and `list[X] | None`."""
    hint = _without_none(hint)
    return typing.get_args(hint)[0] if typing.get_origin(hint) is list else hint


def _without_none(hint: typing.Any) -> typing.Any:
    """`X` for `X | None`."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(inner for inner in typing.get_args(hint) if inner is not type(None))
    return hint


# mistakes


def _in_one_line(error: CycloptsError) -> UserError:
    """What is wrong with a command line, and what may have been meant."""
    match error:
        case cyclopts.UnknownOptionError():
            option = error.token.keyword or error.token.value
            options = [name for argument in error.argument_collection for name in argument.names]
            named = [name for name in options if name.startswith("-")]
            return UserError(f"unknown option {option}", remedy=did_you_mean(option, [*named, "--help"]))
        case cyclopts.UnknownCommandError():
            return unknown_command(error.unused_tokens[0], error.app)
        case cyclopts.UnusedCliTokensError():
            return UserError(f"unexpected words: {' '.join(error.unused_tokens)}", remedy="--help lists the arguments")
        case cyclopts.MissingArgumentError() if not error.keyword and not error.argument.tokens:
            name = error.argument.name if error.argument.index is None else error.argument.name.lstrip("-").upper()
            return UserError(f"{name} is missing", remedy="--help lists the arguments")
    # the library's further errors name the option and the choices; they are meant for users
    error.verbose = False
    return UserError(str(error).rstrip("."))


def unknown_command(word: str, app: App) -> UserError:
    """That a group of commands has none of this name."""
    return UserError(
        f"there is no command {word!r}", remedy=did_you_mean(word, [name for name in app if name[0] != "-"])
    )
