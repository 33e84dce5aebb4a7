"""The report as one HTML file, which needs no network, and no scripts but to sort; and each table as a page."""

import re
from html import escape
from pathlib import Path
from typing import Any

import markupsafe
import pandas as pd

from headwater import __version__
from headwater.core import registry, text
from headwater.core.page import templates
from headwater.data.tables import is_mean
from headwater.reporting import artefacts, columns, drawing, formatting, page_sections, prose
from headwater.reporting.drawing import Drawing
from headwater.reporting.page_sections import Block, Section
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid

TEMPLATES = Path(__file__).parent / "pages"


def index(
    study: StudyResults, *, tables: dict[str, dict[str, PrintedTable]], figures: dict[str, dict[str, Drawing]]
) -> str:
    """The whole report, from its tables and SVGs by name and by the dataset or source that they are about."""
    sections = [
        _with_artefacts(section, tables=tables, figures=figures, study=study)
        for section in page_sections.sections(study)
    ]
    return rendered(
        "index.html",
        extent=prose.extent(study.grid),
        warnings=[*prose.warnings(study.comparisons, grid=study.grid), *prose.dropped(study.dropped)],
        sections=[_drawn(section) for section in sections if section.blocks],
        files=[
            link
            for name, formats in artefacts.table_files(study.grid).items()
            for link in artefacts.links(name, formats)
        ]
        + [(f"{name}.{form}", f"{name}.{form}") for name, form in artefacts.DOCUMENTS],
        version=__version__,
    )


def one_table(table: PrintedTable) -> str:
    """A table as a page of its own."""
    return rendered(
        "one_table.html",
        title=table.title,
        table=None if table.shown.empty else _table(table),
        nothing=table.nothing,
        warnings=table.warnings,
        notes=table.notes,
    )


def _with_artefacts(
    section: Section,
    *,
    tables: dict[str, dict[str, PrintedTable]],
    figures: dict[str, dict[str, Drawing]],
    study: StudyResults,
) -> Section:
    """The section with the tables and figures declared for it, between its opening and closing blocks."""

    def inside(family: str, name: str) -> bool:
        return registry.load(family, name).CARD.section == section.name

    formats = artefacts.table_files(study.grid)
    named = [
        (artefacts.file_name(name, part), table)
        for name in tables
        if inside("tables", name)
        for part, table in _parts(tables[name], section)
    ]
    chosen = [table for _, table in named]
    blocks = [
        Block(
            table=table,
            heading=table.title if len(chosen) > 1 else "",
            files=artefacts.links(file, formats[file]),
            anchor=f"table-{file}",
        )
        for file, table in named
    ]
    # footnotes that several tables of a section share are printed once, below all of them
    blocks += [Block(small=note) for note in dict.fromkeys(note for table in chosen for note in table.notes)]
    for name in figures:
        if inside("figures", name):
            blocks += _figures(name, figures[name], section=section, study=study)
    return section.around(blocks)


def _parts(by_part: dict[str, Any], section: Section) -> list[tuple[str, Any]]:
    """All parts of an artefact by what they are about; in the section of a dataset, those about it."""
    return [(about, part) for about, part in by_part.items() if not section.dataset or about == section.dataset]


def _figures(name: str, by_part: dict[str, Drawing], *, section: Section, study: StudyResults) -> list[Block]:
    """A figure's parts, or the reason why there are none."""
    module = registry.load("figures", name)
    caption = artefacts.caption(name, study.grid)
    blocks = []
    for about, drawn in by_part.items():
        if not section.dataset or about == section.dataset:
            file = artefacts.file_name(name, about)
            title = module.CARD.title + (f": {_called(about, study.grid)}" if about else "")
            whole = drawing.inlined(drawn.svg, name=file, title=escape(title))
            blocks.append(
                Block(svg=whole, caption=caption, files=artefacts.links(file, drawing.FORMATS), anchor=f"figure-{file}")
            )
    if not by_part and hasattr(module, "reason_for_none"):
        blocks.append(Block(small=module.reason_for_none(study)))
    return blocks


def _called(about: str, grid: Grid) -> str:
    """What a dataset or a source is called."""
    section = "datasets" if about in {dataset.name for dataset in grid.datasets} else "sources"
    return grid.wording.title(section, about)


def rendered(template: str, **content: Any) -> str:
    """A page from its template, with all text escaped."""
    pages = templates(TEMPLATES, trim_blocks=True, lstrip_blocks=True)
    style, script = (markupsafe.Markup((TEMPLATES / name).read_text()) for name in ("style.css", "tables.js"))
    return pages.get_template(template).render(style=style, script=script, **content).strip() + "\n"


def _drawn(section: Section) -> dict[str, Any]:
    """A section for the template."""
    blocks = [
        {
            "heading": block.heading,
            "text": block.text,
            "small": block.small,
            "lines": block.lines,
            "table": _table(block.table) if block.table is not None and len(block.table.shown) else None,
            "nothing": block.table.nothing if block.table is not None and block.table.shown.empty else "",
            "svg": markupsafe.Markup(block.svg),
            "caption": block.caption,
            "files": block.files,
            "anchor": block.anchor or _anchor(section.id, block.heading),
        }
        for block in section.blocks
    ]
    return {"id": section.id, "title": section.title, "nav": section.nav, "lead": section.lead, "blocks": blocks}


def _table(table: PrintedTable) -> dict[str, Any]:
    """A table for a template."""
    if table.comparisons is not None:
        return _differences(table.shown, table.comparisons, table.grid)
    rows = [
        {"kind": "first", "cells": cells, "again": (), "remark": "", "group": at}
        for at, cells in enumerate(table.shown.to_dict("records"))
    ]
    return _with_legend(list(table.shown.columns), list(table.words), rows)


def _with_legend(names: list[str], words: list[str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A table for a template with what its columns are."""
    legend = [(name, said) for name in names if (said := columns.of_heading(name))]
    return {"columns": names, "words": words, "rows": rows, "legend": legend}


def _differences(shown: pd.DataFrame, rows: pd.DataFrame, grid: Grid) -> dict[str, Any]:
    """Comparisons for a template: a label's name once, and its note below its rows, or instead of empty ones."""
    lines: list[dict] = []
    named = [column for column in shown.columns if column != "Note"]
    identifying = [column for column in named if column in ("Dataset", "Metric", "Recipe", "Label")]
    for number, group in rows.groupby(formatting.opens_group(rows).cumsum(), sort=False):
        macro = "macro " if is_mean(group["label"].iloc[0]) else ""
        note = formatting.note_of(next(group.itertuples()), grid)
        if group["value"].isna().all():
            cells = shown.loc[group.index[0], identifying].to_dict()
            lines.append({"kind": f"{macro}first", "cells": cells, "again": (), "remark": note, "group": number})
            continue
        for position, (at, significant) in enumerate(group["significant"].items()):
            kind = macro + ("significant " if significant else "") + ("" if position else "first")
            cells = shown.loc[at, named].to_dict()
            again = identifying if position else ()
            lines.append({"kind": kind, "cells": cells, "again": again, "remark": "", "group": number})
        if note:
            lines.append({"kind": macro.strip(), "cells": {}, "again": (), "remark": note, "group": number})
    return _with_legend(named, list(text.LEFT), lines)


def _anchor(section: str, heading: str) -> str:
    """The anchor of a heading within its section."""
    return f"{section}-{re.sub('[^a-z0-9]+', '-', heading.lower()).strip('-')}" if heading else ""
