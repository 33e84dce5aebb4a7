"""For developers: write the files that follow from others: conda environment, config schema, table of keys."""

import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import pydantic
import yaml
from packaging.requirements import Requirement
from pydantic.fields import FieldInfo

from headwater.core.command_line import door
from headwater.core.errors import UserError
from headwater.core.files import write_text
from headwater.core.records import Choice, Record, explained
from headwater.study import config, source_matrix
from headwater.study.archive import Archive, Dataset, Twin
from headwater.study.comparison import Comparing
from headwater.study.compute import Compute, Processes
from headwater.study.ct_windows import Window
from headwater.study.folds import Folds
from headwater.study.intensity import Intensity
from headwater.study.json_schema import schema
from headwater.study.leaks import Excuse, Leaks
from headwater.study.recipe import Lora, Loss, Recipe, Training, Views
from headwater.study.source import Collapse, Controls, Probe, Source, Weights
from headwater.study.target import Target
from headwater.study.tracking import Tracking
from headwater.study.wording import Words

ROOT = Path(__file__).parent.parent

LINUX = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.0",
    "python_version": "3.11",
    "sys_platform": "linux",
}
"""What the pins of the conda environment are resolved for."""

BEGIN = "<!-- keys: written by scripts/generate.py -->"
END = "<!-- /keys -->"

SECTIONS: dict[str, type[Record]] = {
    "(top)": config.Config,
    "archives.NAME": Archive,
    "archives.NAME.twin": Twin,
    "sources.NAME": Source,
    "sources.NAME.weights": Weights,
    "collapse": Collapse,
    "source_grids.NAME": source_matrix.SourceGrid,
    "probe": Probe,
    "controls": Controls,
    "datasets.NAME": Dataset,
    "datasets.NAME.targets.NAME": Target,
    "datasets.NAME.splits": Folds,
    "recipes.NAME": Recipe,
    "recipes.NAME.loss": Loss,
    "recipes.NAME.lora": Lora,
    "training": Training,
    "views": Views,
    "labels.NAME": Words,
    "comparison": Comparing,
    "leaks": Leaks,
    "leaks.excused": Excuse,
    "tracking": Tracking,
    "compute": Compute,
    "recipes.NAME.compute": Processes,
}
"""The parts of a config file, in the order of the tables, and the record that each is read into."""

FILLED_IN = {
    ("archives.NAME", "kind"): "NAME",
    ("sources.NAME", "backbone"): "the top-level `backbone`",
    ("datasets.NAME", "archive"): "NAME",
    ("training", "weight_decay"): "by optimiser",
}
"""Keys whose default follows from others, and what then stands there."""


def generate(*, check: bool = False) -> None:
    """Write each generated file; with `check`, refuse if one of them is not what would be written."""
    stale = [str(path.relative_to(ROOT)) for path, text in generated().items() if _text(path) != text]
    if check and stale:
        raise UserError(f"not fresh: {', '.join(stale)}", remedy="run python scripts/generate.py and commit")
    for path, text in generated().items():
        if str(path.relative_to(ROOT)) in stale:
            write_text(text, path)


def generated() -> dict[Path, str]:
    """What each generated file shall hold."""
    readme = ROOT / "config" / "README.md"
    return {
        ROOT / "envs" / "headwater.yaml": environment((ROOT / "requirements.lock").read_text()),
        ROOT / "workflow" / "schemas" / "config.schema.json": json.dumps(schema(), indent=2) + "\n",
        readme: between_markers(readme.read_text(), "\n".join(keys()), file=readme),
    }


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def pins(lock: str) -> list[str]:
    """The `name==version` lines of a lock that hold on Linux with Python 3.11, in its order."""
    lines = (line.removesuffix("\\") for line in lock.splitlines() if line[:1].isalnum())
    wanted = (Requirement(line.strip()) for line in lines)
    return [
        f"{requirement.name}{requirement.specifier}"
        for requirement in wanted
        if requirement.marker is None or requirement.marker.evaluate(LINUX)
    ]


def environment(lock: str) -> str:
    """The conda environment of all jobs: Python from conda-forge, and what the lock pins from pip."""
    content = {
        "name": "headwater",
        "channels": ["conda-forge", "nodefaults"],
        "dependencies": ["python=3.11", "pip", {"pip": pins(lock)}],
    }
    head = "# Written by scripts/generate.py from requirements.lock.\n"
    return head + yaml.safe_dump(content, sort_keys=False)


def between_markers(text: str, inner: str, *, file: Path) -> str:
    """The text with `inner` between its two markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"has no {BEGIN} ... {END}", file=file, remedy="put both lines back")
    return f"{before}{BEGIN}\n{inner}\n{END}{after}"


def keys() -> Iterator[str]:
    """A Markdown table of its keys for each part of a config file."""
    for place, record in SECTIONS.items():
        yield f"\n### `{place}`\n" if place != "(top)" else "\n### The top of the file\n"
        yield f"{(record.__doc__ or '').splitlines()[0]}\n"
        yield "| key | holds | default | meaning |"
        yield "|---|---|---|---|"
        # an entry's name is its key, not a key of its own
        meanings = explained(record)
        for key in [key for key in record.model_fields if key not in config.UNWRITTEN]:
            field = record.model_fields[key]
            default = FILLED_IN.get((place, key)) or _default(field)
            yield f"| `{key}` | {_kind(field)} | {default} | {_in_a_cell(meanings.get(key, ''))} |"
    yield ""


def _in_a_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    """The default as a config would say it."""
    value = field.default
    if field.is_required():
        return "**required**"
    if value is None:
        return "none"
    if isinstance(value, Record):
        return "see below"
    return f"`{json.dumps(value)}`"


def _kind(field: FieldInfo) -> str:
    """What a key holds, in words, with its bounds."""
    return " ".join([_words(field.annotation), _bounds(field.metadata)]).strip()


def _bounds(metadata: typing.Iterable[typing.Any]) -> str:
    """The bounds of a number, in signs."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return ", ".join(
        f"{sign} {getattr(bound, limit):g}"
        for bound in metadata
        for limit, sign in signs.items()
        if hasattr(bound, limit)
    )


def _words(annotation: typing.Any) -> str:
    """A type in words."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_words(part) for part in inner if part is not type(None))
    if origin is typing.Annotated:
        (field,) = annotation.__metadata__
        return f"{_words(inner[0])} {_bounds(field.metadata)}"
    if origin is tuple:
        many = "list of" if inner[-1] is ... else str(len(inner))
        return f"{many} {_plural(_words(inner[0]))}"
    if origin is dict:
        return f"NAME: {_words(inner[1])}"
    if annotation is Choice:
        return "plug-in"
    if annotation in (Window, Intensity):
        return annotation.__name__.lower()
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return "section"
    return {typing.Any: "anything", int: "whole number", float: "number", str: "text", bool: "yes or no"}[annotation]


def _plural(words: str) -> str:
    """The plural of a kind, which its bounds follow; words to choose from stay as they are."""
    if words.startswith("`"):
        return words
    return re.sub(r"$| (?=[≥>])", lambda end: "s" + end[0], words, count=1)


if __name__ == "__main__":
    door(generate)
