"""Command lines made from function signatures; a mistake in the arguments prints one line and exits with 2."""

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

from headwater.core import interruption
from headwater.core.errors import UserError, did_you_mean, exit_on_user_error
from headwater.core.records import Record
from headwater.core.registry import mistakes

FINISHED: list[bool] = []
"""Not empty once this process's own command has succeeded."""


def _leave() -> None:
    """Exit at once after a command that succeeded.

    Python's own shutdown takes thousands of modules apart. That costs a second in every job that imports torch, and
    frees nothing that the end of the process does not. After a failure, Python exits as usual.
    """
    if FINISHED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


# exit functions run in reverse order: registered before anything else is imported, this one runs last
atexit.register(_leave)


# imported modules live until the process ends, and scanning them for garbage takes a quarter of the start-up time; so
# collections are rare during imports, and a command then freezes what was imported and returns to a usual threshold
gc.set_threshold(1_000_000, 50, 100)
AT_WORK = 50_000, 20, 100

HELP_FLAGS = ("--help", "-h")

# cyclopts would make each field of a record an option; here a record is one argument of JSON
Parameter(n_tokens=1, accepts_keys=False)(Record)


def door(function: Callable, arguments: Sequence[str] | None = None) -> None:
    """Run a function with parameters from the command line; exit with 2 on a mistake.

    Keyword-only parameters are options. `Path`, `int`, `float` and `str` take one word, `list[...]` several, `Literal`
    one of its values, `bool` is a flag, a record takes its JSON (or `@file`). The docstring is the help text.
    """
    run(application(function.__name__, default_command=function, version_flags=()), arguments, name=function.__name__)
    if interruption.is_command():
        FINISHED.append(True)


def application(name: str, **settings: typing.Any) -> App:
    """A cyclopts command with this project's conventions; further settings are those of `cyclopts.App`."""
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
    """Run the command of a command line; a mistake prints one line that begins with `name` and exits with 2."""
    with exit_on_user_error(name):
        try:
            command, bound, _ = app.parse_args(arguments)
        except CycloptsError as error:
            raise _in_one_line(error) from None
        _set_imports_aside()
        with interruption.Raised():
            command(*bound.args, **bound.kwargs)


def _set_imports_aside() -> None:
    """Exclude everything imported so far from garbage collection."""
    gc.freeze()
    # some libraries check at exit for objects that are left over, and would warn
    atexit.register(gc.unfreeze)
    gc.set_threshold(*AT_WORK)


# words to values


def _converted(hint: typing.Any, tokens: Sequence[Token]) -> typing.Any:
    """The words of one parameter, converted to its type."""
    kind = _inner(hint)
    if isinstance(kind, type) and issubclass(kind, Record):
        records = [_record(kind, token.value) for token in tokens]
        return records if typing.get_origin(_without_none(hint)) is list else records[0]
    if kind is int:
        for token in tokens:
            _check_whole(token)
    return cyclopts.convert(hint, tokens)


def _check_whole(token: Token) -> None:
    """Refuse numbers such as 1.5, which cyclopts would round."""
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
    """The mistake in a command line and its remedy as one line."""
    match error:
        case cyclopts.UnknownOptionError():
            option = error.token.keyword or error.token.value
            names = [name for argument in error.argument_collection for name in argument.names]
            options = [name for name in names if name.startswith("-")]
            return UserError(f"unknown option {option}", remedy=did_you_mean(option, [*options, "--help"]))
        case cyclopts.UnknownCommandError():
            return unknown_command(error.unused_tokens[0], error.app)
        case cyclopts.UnusedCliTokensError():
            return UserError(f"unexpected words: {' '.join(error.unused_tokens)}", remedy="--help lists the arguments")
        case cyclopts.MissingArgumentError() if not error.keyword and not error.argument.tokens:
            name = error.argument.name if error.argument.index is None else error.argument.name.lstrip("-").upper()
            return UserError(f"{name} is missing", remedy="--help lists the arguments")
    # cyclopts' other messages already name the option and the choices
    error.verbose = False
    return UserError(str(error).rstrip("."))


def unknown_command(word: str, app: App) -> UserError:
    """The error for a word that is not a command of the group."""
    return UserError(
        f"there is no command {word!r}", remedy=did_you_mean(word, [name for name in app if name[0] != "-"])
    )
