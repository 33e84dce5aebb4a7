"""The tables and figures of a report, each declared in one file of `tables/` or `figures/`.

The content of a study's report follows from these declarations, which are read without importing the files, because the
Snakefile needs the names in every job.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from headwater.core import registry
from headwater.study import paths
from headwater.study.grid import Grid

FORMATS = ("csv", "md", "tex", "html")

DOCUMENTS = {
    ("numbers", "json"): "every number under its name, in full precision",
    ("numbers", "tex"): "every number as a macro of LaTeX, rounded",
    ("provenance", "csv"): "the files of predictions behind each number, with the SHA-256 of models and weights",
    ("provenance", "json"): "the config, and the SHA-256 of what the report was made from",
    ("columns", "md"): "what each column of each .csv holds",
    ("ro-crate-metadata", "json"): "the files of the report and what made them, as an RO-Crate",
}
"""(name, format) of other files of a report besides its tables, figures, cards, page and summary: what each holds."""

Condition = Literal["always", "examined", "external", "reduced"]

CONDITIONS: dict[str, Callable[[Grid], bool]] = {
    "always": lambda grid: True,
    "examined": lambda grid: bool(grid.with_test_split),
    "external": lambda grid: grid.comparing.external,
    "reduced": lambda grid: grid.reduced,
}
"""The studies in which an artefact is made: all; those with a test split, external validation or a reduced corpus."""


@dataclass(frozen=True, kw_only=True)
class TableCard:
    """A table of the report; each field is a plain value in the call that makes it."""

    place: int
    """Its position among all tables."""
    section: str = ""
    """The section of the page that shows it; "" or `study` for tables that are files only."""
    when: Condition = "always"
    each_dataset: bool = False
    """Whether there is one per dataset, named `{name}_{dataset}`."""
    formats: tuple[str, ...] = FORMATS
    product: str = ""
    """The dataset's result that it shows: the part of that file's name after the dataset's."""


@dataclass(frozen=True, kw_only=True)
class FigureCard:
    """A figure of the report; each field is a plain value in the call that makes it."""

    title: str
    """Its accessible title, for screen readers."""
    caption: str
    """Its caption; {correction} is replaced by the correction of the macro tests."""
    section: str
    """The section of the page that shows it; `datasets` if it is about one dataset."""
    place: int
    """Its position among all figures."""
    when: Condition = "always"


def names(family: Literal["tables", "figures"], grid: Grid) -> list[str]:
    """The entries of a family in this study, in their order."""
    chosen = [name for name in registry.names(family) if CONDITIONS[_of(family, name, "when", "always")](grid)]
    return sorted(chosen, key=lambda name: _of(family, name, "place", 0))


def table_files(grid: Grid) -> dict[str, tuple[str, ...]]:
    """The formats of every table of a study's report, by the table's name, in their order."""
    return {
        file_name(name, part): _of("tables", name, "formats", FORMATS)
        for name in names("tables", grid)
        for part in parts(name, grid)
    }


def parts(table: str, grid: Grid) -> list[str]:
    """The datasets that a table has a part for, or "" if one table is about all."""
    return [dataset.name for dataset in grid.datasets] if _of("tables", table, "each_dataset", False) else [""]


def cards(grid: Grid) -> dict[str, dict[str, str]]:
    """The cards of encoders and of models and the datasheets of archives, each what it is about by its name."""
    called = grid.wording.title
    compared = [source for source in grid.sources if not source.control]
    return {
        "Encoders": {
            paths.encoder_card(source.name): called("sources", source.name)
            for source in compared
            if source.kind != "random"
        },
        "Models": {
            paths.model_card(dataset.name, source.name, recipe.name): ", ".join(
                (called("datasets", dataset.name), called("sources", source.name), called("recipes", recipe.name))
            )
            for dataset in grid.datasets
            for source in grid.fitted_to(dataset.name)
            if not source.control
            for recipe in grid.recipes_of(dataset.name)
        },
        "Archives": {paths.datasheet(archive): archive for archive in grid.archives_used},
    }


def documents(grid: Grid) -> list[tuple[str, str]]:
    """(name, format) of the files of a study's report besides its tables, figures, page and summary."""
    return [*DOCUMENTS, *((name, "md") for about in cards(grid).values() for name in about)]


def file_name(name: str, part: str) -> str:
    """The name, without suffix, of the file of an artefact, or of its part for one dataset or source."""
    return f"{name}_{part}" if part else name


def section(family: Literal["tables", "figures"], name: str) -> str:
    """The section that an artefact is in."""
    return _of(family, name, "section", "")


def title(figure: str) -> str:
    """The title of a figure."""
    return _of("figures", figure, "title", "")


def caption(figure: str, grid: Grid) -> str:
    """The caption of a figure in this study."""
    return _of("figures", figure, "caption", "").format(correction=correction(grid))


def correction(grid: Grid) -> str:
    """The name of the correction of the macro tests."""
    return {"holm": "Holm", "max_t": "Westfall and Young"}[grid.comparing.correction]


def links(name: str, formats: tuple[str, ...] = FORMATS) -> tuple[tuple[str, str], ...]:
    """(address, what it is called) of the files of a table or figure, which lie beside the page."""
    return tuple((f"{name}.{form}", f"{name}.{form}") for form in formats)


def products() -> dict[str, str]:
    """The dataset's result that each table shows, for tables of other results than comparisons."""
    listed = {name: _of("tables", name, "product", "") for name in registry.names("tables")}
    return {name: product for name, product in listed.items() if product}


def _of(family: str, name: str, field: str, default: Any) -> Any:
    """A field of an artefact's card, read without importing its file."""
    return registry.constant(family, name, f"CARD.{field}", default=default)
