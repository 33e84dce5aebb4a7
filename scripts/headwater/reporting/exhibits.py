"""Exhibits: what Snakemake's own report (`snakemake --report`) shows of a study, with captions, categories and labels.

All of it follows from the cards and first sentences of tables and figures, which are read without importing the files.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from headwater.core import registry
from headwater.reporting import artefacts
from headwater.study.grid import Grid

STUDY, RESULTS, FILES = "Study", "Results", "Files"

ALL = "all datasets"
"""What an artefact is about that is not about one dataset or source."""

CATEGORIES = {
    "study": STUDY,
    "calibration": "Calibration",
    "thresholds": "Alarms",
    "subgroups": "Subgroups",
    "elsewhere": "Tested elsewhere",
    "reductions": "Reduced corpora",
    "checks": "Check-lists",
}
"""The category of each section of the page; what is in none of them are results."""

TABLES = {"html": "table", "csv": "CSV in full precision"}
"""What each shown format of a table is called."""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A file of the report, as Snakemake's report shows it."""

    caption: str
    category: str
    subcategory: str | None = None
    labels: dict[str, str]
    """Cells of its line in the table of contents, by column; all exhibits have the same columns."""


def exhibits(grid: Grid) -> dict[str, Exhibit]:
    """Every file that a study's report may have and that is shown, by its name; a figure may have nothing to draw."""
    said = "The whole report as one page: verdict, tables, figures, and how the numbers were made."
    page = Exhibit(caption=said, category=STUDY, labels=_labels("report", about=ALL, form="page"))
    documents = {
        (file := f"{name}.{form}"): Exhibit(
            caption=f"{holds[0].upper()}{holds[1:]}.", category=FILES, labels=_labels(file, about=ALL, form="file")
        )
        for (name, form), holds in artefacts.DOCUMENTS.items()
    }
    return {"index.html": page, **dict(_tables(grid)), **dict(_figures(grid)), **dict(_cards(grid)), **documents}


@dataclass(frozen=True)
class Captions:
    """The captions of exhibits by file; short in print, because Snakemake prints params beside each exhibit."""

    of: dict[str, str] = field(repr=False)


def captions(shown: dict[str, Exhibit]) -> Captions:
    """The caption of each exhibit."""
    return Captions({file: exhibit.caption for file, exhibit in shown.items()})


def pattern(shown: dict[str, Exhibit]) -> str:
    """The pattern by which Snakemake finds the exhibits in the folder of the report, each as the wildcard `file`."""
    return f"{{file,{'|'.join(map(re.escape, shown))}}}"


def _tables(grid: Grid) -> Iterator[tuple[str, Exhibit]]:
    """(file, exhibit) of each table, as a page to read and as CSV."""
    formats = artefacts.table_files(grid)
    for name in artefacts.names("tables", grid):
        caption, section = registry.sentence("tables", name), artefacts.section("tables", name)
        for about in artefacts.parts(name, grid):
            file = artefacts.file_name(name, about)
            for form in (form for form in TABLES if form in formats[file]):
                labels = _labels(name.replace("_", " "), about=_called(about, grid), form=TABLES[form])
                yield f"{file}.{form}", Exhibit(caption=caption, **_filed(section, about, grid), labels=labels)


def _figures(grid: Grid) -> Iterator[tuple[str, Exhibit]]:
    """(file, exhibit) of each figure, for every dataset and source that it could be about."""
    named = [of.name for of in (*grid.datasets, *grid.sources)]
    for name in artefacts.names("figures", grid):
        caption, section = artefacts.caption(name, grid), artefacts.section("figures", name)
        title = artefacts.title(name)
        for about in ("", *named):
            labels = _labels(title, about=_called(about, grid), form="figure")
            file = f"{artefacts.file_name(name, about)}.svg"
            yield file, Exhibit(caption=caption, **_filed(section, about, grid), labels=labels)


def _cards(grid: Grid) -> Iterator[tuple[str, Exhibit]]:
    """(file, exhibit) of each model card and datasheet."""
    kinds = {"Archives": "datasheet", "Encoders": "model card of an encoder", "Models": "model card of networks"}
    for family, cards in artefacts.cards(grid).items():
        for name, called in cards.items():
            labels = _labels(kinds[family], about=_plain(called), form="file")
            yield f"{name}.md", Exhibit(caption=f"The {kinds[family]}.", category=FILES, labels=labels)


def _filed(section: str, about: str, grid: Grid) -> dict[str, str | None]:
    """The category and subcategory of an artefact; those of results are by dataset."""
    category = CATEGORIES.get(section, RESULTS)
    return {"category": category, "subcategory": _called(about, grid) if category == RESULTS else None}


def _called(about: str, grid: Grid) -> str:
    """What a dataset or a source is called."""
    section = "datasets" if about in {dataset.name for dataset in grid.datasets} else "sources"
    return _plain(grid.wording.title(section, about)) if about else ALL


def _plain(title: str) -> str:
    """A title without braces, which Snakemake takes for wildcards."""
    return title.translate({ord("{"): "(", ord("}"): ")"})


def _labels(shows: str, *, about: str, form: str) -> dict[str, str]:
    """The cells of a line: what it shows, of what, and how."""
    return {"shows": shows, "about": about, "as": form}
