"""The tables and figures of a report, each declared in one file of `tables/` or `figures/`, and found by its name.

What a study's report consists of follows from the declarations, which are read without importing them: the Snakefile
asks for the names on every node.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from headwater.core import registry
from headwater.study.grid import Grid

FORMATS = ("csv", "md", "tex", "html")

DOCUMENTS = (("numbers", "json"), ("numbers", "tex"), ("provenance", "csv"), ("provenance", "json"))
"""Name and format of what a report holds beside its tables, figures, page and summary."""

Condition = Literal["always", "external", "reduced"]

CONDITIONS: dict[str, Callable[[Grid], bool]] = {
    "always": lambda grid: True,
    "external": lambda grid: grid.comparing.external,
    "reduced": lambda grid: grid.reduced,
}
"""In which studies an artefact is made: all, those with external validation, those that reduce a corpus."""


@dataclass(frozen=True, kw_only=True)
class TableCard:
    """A table of the report; each field is a plain value in the call that makes it."""

    place: int
    """Where it stands among all tables."""
    section: str = ""
    """The section of the page that shows it; "" for tables that are files only."""
    when: Condition = "always"
    each_dataset: bool = False
    """Whether there is one for each dataset, called `{name}_{dataset}`."""
    formats: tuple[str, ...] = FORMATS
    product: str = ""
    """Which of a dataset's results its rows are: the part of the file's name behind the dataset's."""


@dataclass(frozen=True, kw_only=True)
class FigureCard:
    """A figure of the report; each field is a plain value in the call that makes it."""

    title: str
    """What a screen reader says."""
    caption: str
    """What stands below it; {correction} becomes the correction of the macro tests."""
    section: str
    """The section of the page that shows it; `datasets` for one that is called after a dataset."""
    place: int
    """Where it stands among all figures."""
    when: Condition = "always"


def names(family: Literal["tables", "figures"], grid: Grid) -> list[str]:
    """The entries of a family that this study has, in their order."""
    chosen = [name for name in registry.names(family) if CONDITIONS[_of(family, name, "when", "always")](grid)]
    return sorted(chosen, key=lambda name: _of(family, name, "place", 0))


def table_files(grid: Grid) -> dict[str, tuple[str, ...]]:
    """The formats of every table of a study's report, by the table's name, in their order."""
    files: dict[str, tuple[str, ...]] = {}
    for name in names("tables", grid):
        parts = [dataset.name for dataset in grid.datasets] if _of("tables", name, "each_dataset", False) else [""]
        files |= {file_name(name, part): _of("tables", name, "formats", FORMATS) for part in parts}
    return files


def file_name(name: str, part: str) -> str:
    """What the file of an artefact is called, or of its part for one dataset or source."""
    return f"{name}_{part}" if part else name


def products() -> dict[str, str]:
    """For each table whose rows are those of one of a dataset's results other than comparisons, which it is."""
    listed = {name: _of("tables", name, "product", "") for name in registry.names("tables")}
    return {name: product for name, product in listed.items() if product}


def _of(family: str, name: str, field: str, default: Any) -> Any:
    return registry.constant(family, name, f"CARD.{field}", default=default)
