"""Writing: the files of the report: tables in all formats, figures, named values, the page, provenance and summary."""

import json
from dataclasses import replace
from pathlib import Path

from headwater import __version__
from headwater.core import fingerprints, registry, text
from headwater.core.destinations import as_csv
from headwater.core.files import write_bytes, write_json, write_text
from headwater.core.records import without_places
from headwater.data.tables import MACRO
from headwater.reporting import (
    artefacts,
    columns,
    crate,
    datasheets,
    footnotes,
    formatting,
    model_cards,
    named_values,
    page,
    prose,
    verdict,
)
from headwater.reporting.drawing import FORMATS, Drawing
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

Tables = dict[str, dict[str, PrintedTable]]
"""By the table's name, then by its dataset, "" for a table of all datasets."""

Figures = dict[str, dict[str, Drawing]]
"""Drawings by the figure's name, then by its dataset or source, "" for a figure of all."""


def write(study: StudyResults, folder: Path) -> str:
    """Write every artefact of a study's report into `folder`, and return the summary."""
    tables: Tables = {name: _tables(name, study) for name in artefacts.names("tables", study.grid)}
    figures = draw(study)
    for name, by_part in tables.items():
        for part, table in by_part.items():
            formats = artefacts.table_files(study.grid)[artefacts.file_name(name, part)]
            _write_table(artefacts.file_name(name, part), table, formats=formats, folder=folder)
    for name, by_part in figures.items():
        for part, drawing in by_part.items():
            write_text(drawing.svg, folder / f"{artefacts.file_name(name, part)}.svg")
            write_bytes(drawing.pdf, folder / f"{artefacts.file_name(name, part)}.pdf")
            write_bytes(drawing.png, folder / f"{artefacts.file_name(name, part)}.png")
    values = named_values.numbers(study.comparisons, grid=study.grid)
    write_json(named_values.as_json(values), folder / "numbers.json")
    write_text(named_values.as_latex(values), folder / "numbers.tex")
    write_text(page.index(study, tables=tables, figures=figures), folder / "index.html")
    _write_provenance(study, folder)
    write_text(_dictionary(tables, study), folder / "columns.md")
    for name, card in (*model_cards.every(study), *datasheets.every(study)):
        write_text(card, folder / f"{name}.md")
    described = _described(tables, figures, grid=study.grid)
    write_json(crate.metadata(study, described=described, folder=folder), folder / crate.NAME)
    summary = _summary(study, folder)
    write_text(summary, folder / "summary.txt")
    return summary


def _described(tables: Tables, figures: Figures, *, grid: Grid) -> dict[str, str]:
    """What each file of the report holds, but for the crate and the summary, which names a folder of this machine."""
    said = {f"{name}.{form}": holds for (name, form), holds in artefacts.DOCUMENTS.items()}
    said |= {
        f"{name}.md": f"{kind}: {of}" for kind, about in artefacts.cards(grid).items() for name, of in about.items()
    }
    del said[crate.NAME]
    formats = artefacts.table_files(grid)
    for name, by_part in tables.items():
        for part, table in by_part.items():
            file = artefacts.file_name(name, part)
            said |= {f"{file}.{form}": table.title for form in formats[file]}
    for name, by_part in figures.items():
        title = registry.load("figures", name).CARD.title
        for part in by_part:
            said |= {f"{artefacts.file_name(name, part)}.{form}": title for form in FORMATS}
    return said | {"index.html": "the whole report as one page"}


def _tables(name: str, study: StudyResults) -> dict[str, PrintedTable]:
    """The tables of that name, each with a footnote on the cases that were dropped from training."""
    dropped = prose.dropped(study.dropped)
    tables = registry.load("tables", name).make(study)
    return {part: replace(table, notes=[*table.notes, *dropped]) for part, table in tables.items()}


def draw(study: StudyResults) -> Figures:
    """Every figure of a study's report."""
    return {name: registry.load("figures", name).make(study) for name in artefacts.names("figures", study.grid)}


def _write_table(name: str, table: PrintedTable, *, formats: tuple[str, ...], folder: Path) -> None:
    """Write one table in its formats: .csv in full precision, the others as printed."""
    writers = {
        "csv": lambda: as_csv(table.exact),
        "md": lambda: formatting.markdown_page(table),
        "tex": lambda: formatting.latex_page(table, name=name),
        "html": lambda: page.one_table(table),
    }
    for suffix in formats:
        write_text(writers[suffix](), folder / f"{name}.{suffix}")


def _dictionary(tables: Tables, study: StudyResults) -> str:
    """What the columns of all .csv files hold; those of a table for each dataset are told once for each."""
    formats = artefacts.table_files(study.grid)
    named = {artefacts.file_name(name, part): table for name, parts in tables.items() for part, table in parts.items()}
    columns_of = {name: list(table.exact.columns) for name, table in named.items() if "csv" in formats[name]}
    return columns.dictionary(columns_of | {"provenance": list(study.provenance.table().columns)})


def _write_provenance(study: StudyResults, folder: Path) -> None:
    """Write provenance.csv, the files of each name in the tables, and provenance.json, the inputs of the report."""
    write_text(as_csv(study.provenance.table()), folder / "provenance.csv")
    exact = [f"{name}.csv" for name, formats in artefacts.table_files(study.grid).items() if "csv" in formats]
    record = {
        "headwater": __version__,
        "config": study.grid.digest,
        "grid": without_places(json.loads(study.grid.as_json())),
        "cases": {archive: fingerprints.sha256(file) for archive, file in study.case_files.items()},
        "comparisons": {file.name: fingerprints.sha256(file) for file in study.tables_compared},
        "tables": {name: fingerprints.sha256(folder / name) for name in [*exact, "provenance.csv", "numbers.json"]},
    }
    write_json(record, folder / "provenance.json")


def _summary(study: StudyResults, folder: Path) -> str:
    """The verdict in plain text: the confirmatory table, each dataset's labels, and the path of the page."""
    rows, grid = study.comparisons, study.grid
    shown = formatting.readable(rows, grid=grid).drop(columns=["Note", *formatting.DETAILS])
    macro, measured = rows["label"] == MACRO, rows["value"].notna()
    warnings = [*prose.warnings(rows, grid=grid), *prose.dropped(study.dropped)]
    parts = [*warnings, verdict.verdict(rows, grid=grid), text.as_text(shown[macro])]
    for dataset in grid.datasets:
        of_dataset = shown[(rows["dataset"] == dataset.name) & ~macro & measured].drop(columns=["Dataset"])
        called = grid.wording.title("datasets", dataset.name)
        left_out = "\n".join(verdict.left_out(rows, dataset=dataset, counts=study.counts_of(dataset), grid=study.grid))
        parts.append(f"{called}, label by label\n\n{text.as_text(of_dataset)}\n{left_out}".rstrip())
    return "\n\n".join([*parts, footnotes.legend(rows, grid=grid), f"Page: {folder / 'index.html'}"]) + "\n"
