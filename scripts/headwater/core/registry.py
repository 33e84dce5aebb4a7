"""Plug-ins: each file in a family's folder is an entry that the config can name, without further registration.

Listing entries and reading their options does not import them, so that planning is quick and needs no torch.
"""

import ast
import contextlib
import importlib
import re
import sys
import typing
from functools import cache
from pathlib import Path
from types import ModuleType

import pydantic

from headwater.core.errors import UserError, did_you_mean
from headwater.core.records import Choice, Record

HOME = Path(__file__).parents[1]
ROOMS = {
    "datasets": "data",
    "twins": "data",
    "reductions": "data",
    "backbones": "models",
    "weights": "models",
    "tasks": "models",
    "methods": "training",
    "trackers": "training",
    "metrics": "evaluation",
    "tables": "reporting",
    "figures": "reporting",
    "schedulers": "cluster",
}
"""All families of plug-ins, and the package that contains each."""

FAMILIES = tuple(ROOMS)

MEANINGS = {
    "reduction": "another reduction of the config: the option `share` is set so that as many images are kept",
    "source": "a source of the config whose encoder looks at the images",
    "numbering": "who numbers the patients",
    "hounsfield": "whether values are Hounsfield units, in an archive whose card cannot tell",
    "queue": "how many earlier images a method compares with: none, or at least a batch",
    "crop": "the smallest share of the image in a view, alone or first of a range: `views.crop` is the same",
    "group": "how many images of a batch share BatchNorm: each process needs a multiple of it",
}
"""Meanings of options that other packages look up. Declared as `Field(json_schema_extra={"means": "queue"})`."""


def folder(family: str) -> Path:
    """The folder of a family."""
    return HOME / ROOMS[family] / family


def names(family: str) -> list[str]:
    """The entries of a family: its files, except those whose names begin with an underscore."""
    return sorted(file.stem for file in folder(family).glob("*.py") if not file.stem.startswith("_"))


def check(family: str, name: str) -> None:
    """Refuse a name that is not in the family."""
    if name not in names(family):
        raise UserError(f"{family}: there is no {name!r}", remedy=did_you_mean(name, names(family)))


def load(family: str, name: str) -> ModuleType:
    """The module of one entry."""
    place = f"headwater.{ROOMS[family]}.{family}.{name}"
    # the folder is not looked at again for each image
    if name.startswith("_") or place not in sys.modules:
        check(family, name)
    return importlib.import_module(place)


@cache
def options(family: str, name: str) -> type[Record]:
    """The `Options` record of an entry, or else of its family, or else an empty one.

    It is read from the source without importing the file, so `Options` may use `Record`, `Field`, `Literal` and
    built-in types only, and extend a record of a private file of its family, from which it is imported.
    """
    check(family, name)
    for file in (folder(family) / f"{name}.py", folder(family) / "__init__.py"):
        if found := _defined(file, "Options", place=f"{family}.{name}"):
            return found
    return type("Options", (Record,), {})


def _defined(file: Path, name: str, *, place: str) -> type[Record] | None:
    """A record of a file, whose class definition alone is run, without the file's imports; None if it has none."""
    content = ast.parse(file.read_text()).body
    found = next((node for node in content if isinstance(node, ast.ClassDef) and node.name == name), None)
    if found is None:
        return None
    scope = {"Record": Record, "Field": pydantic.Field, "Literal": typing.Literal, "__name__": place}
    for base in found.bases:
        word = ast.unparse(base)
        if word not in scope:
            scope[word] = _defined(file.parent / f"{_whence(word, content)}.py", word, place=place)
    exec(compile(ast.Module([found], []), file, "exec"), scope)
    return scope[name]


def _whence(word: str, content: list[ast.stmt]) -> str:
    """The last part of the module from which a file imports a word."""
    imports = (node for node in content if isinstance(node, ast.ImportFrom))
    (module,) = (node.module for node in imports if any(alias.name == word for alias in node.names))
    return module.rpartition(".")[2]


def option(family: str, name: str, *, means: str) -> str | None:
    """The option of an entry that declares this one of MEANINGS; None if there is none."""
    for key, field in options(family, name).model_fields.items():
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("means") == means:
            return key
    return None


def constant(family: str, name: str, which: str, *, default: typing.Any) -> typing.Any:
    """A literal constant of an entry's file, read from its source without importing it, or else `default`.

    `CARD.labels` is the argument `labels` in the call that makes `CARD`; `default` if that is not a literal.
    """
    check(family, name)
    which, _, argument = which.partition(".")
    for node in _text(folder(family) / f"{name}.py").body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [which]:
            return _argument(node.value, argument, default=default) if argument else ast.literal_eval(node.value)
    return default


def defines(family: str, name: str, which: str) -> bool:
    """Whether an entry's file defines a function or a constant of this name, without importing it."""
    check(family, name)
    for node in _text(folder(family) / f"{name}.py").body:
        if isinstance(node, ast.FunctionDef) and node.name == which:
            return True
        if isinstance(node, ast.Assign) and which in map(ast.unparse, node.targets):
            return True
    return False


def sentence(family: str, name: str) -> str:
    """The first sentence of an entry's file, which says what it is."""
    return (ast.get_docstring(_text(folder(family) / f"{name}.py")) or "").partition("\n\n")[0].replace("\n", " ")


@cache
def _text(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def _argument(call: ast.expr, name: str, *, default: typing.Any) -> typing.Any:
    """The literal value of a call's keyword argument in source code, or else `default`."""
    for keyword in call.keywords if isinstance(call, ast.Call) else []:
        if keyword.arg == name:
            with contextlib.suppress(ValueError):
                return ast.literal_eval(keyword.value)
    return default


def chosen(family: str, choice: Choice) -> Record:
    """The validated options of a choice; all mistakes are reported at once."""
    form = options(family, choice.name)
    try:
        return form.model_validate(choice.options)
    except pydantic.ValidationError as error:
        raise UserError("; ".join(mistakes(error, form, prefix=choice.name))) from None


def mistakes(error: pydantic.ValidationError, form: type[pydantic.BaseModel], *, prefix: str = "") -> list[str]:
    """One line per mistake that pydantic found, with the most similar key for an unknown one."""
    lines = []
    for mistake in error.errors(include_url=False):
        place = ".".join(str(part) for part in ([prefix] if prefix else []) + list(mistake["loc"]))
        if mistake["type"] == "extra_forbidden":
            allowed = _keys_beside(form, mistake["loc"])
            lines.append(f"{place}: unknown key; {did_you_mean(str(mistake['loc'][-1]), allowed)}")
        elif mistake["loc"][-1:] == ("[key]",):
            section = ".".join(map(str, mistake["loc"][:-2]))
            lines.append(f"{section}: a name must be text (got {mistake['input']!r}); put it in quotes")
        elif mistake["type"] == "missing":
            lines.append(f"{place}: missing; give it a value")
        elif mistake["type"] in ("tuple_type", "list_type"):
            lines.append(f"{place}: must be a list (got {mistake['input']!r}); write [{mistake['input']}]")
        else:
            got = "" if mistake["type"] == "value_error" else f" (got {mistake['input']!r})"
            lines.append(f"{place or 'config'}: {mistake['msg'].removeprefix('Value error, ')}{got}{_nearest(mistake)}")
    return lines


def _nearest(mistake: typing.Any) -> str:
    """The most similar allowed value, if one of several is expected."""
    if mistake["type"] != "literal_error" or not isinstance(mistake["input"], str):
        return ""
    remedy = did_you_mean(mistake["input"], re.findall(r"'([^']*)'", mistake["ctx"]["expected"]))
    return f"; {remedy}" if remedy.startswith("did you mean") else ""


def _keys_beside(form: type[pydantic.BaseModel], place: tuple) -> list[str]:
    """The keys that are allowed at the place of an unknown one."""
    model, in_section = form, False
    for part in place[:-1]:
        if in_section:
            # this part is the name of an entry, not a key, even if it is spelt like one
            in_section = False
            continue
        annotation = model.model_fields[part].annotation
        model = (_models_within(annotation) or [model])[0]
        in_section = typing.get_origin(annotation) in (dict, tuple)
    return list(model.model_fields)


def _models_within(annotation: typing.Any) -> list[type[pydantic.BaseModel]]:
    """The record types inside an annotation such as `dict[str, Source]` or `Twin | None`."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [model for inner in typing.get_args(annotation) for model in _models_within(inner)]
