"""The report as one HTML file, which needs neither network nor scripts; and each table as a page of its own."""

from html import escape
from pathlib import Path
from typing import Any

import markupsafe
import pandas as pd

from headwater import __version__
from headwater.core import registry, text
from headwater.core.page import templates
from headwater.data.tables import is_mean
from headwater.reporting import artefacts, drawing, formatting, page_sections, prose, verdict
from headwater.reporting.page_sections import Block, Section
from headwater.reporting.printed_table import PrintedTable
from headwater.reporting.results import StudyResults

TEMPLATES = Path(__file__).parent / "pages"


def index(
    study: StudyResults, *, tables: dict[str, dict[str, PrintedTable]], figures: dict[str, dict[str, str]]
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
        version=__version__,
    )


def one_table(table: PrintedTable) -> str:
    """A table as a page of its own."""
    return rendered(
        "one_table.html",
        title=table.title,
        table=_table(table),
        warnings=table.warnings,
        notes=table.notes,
    )


def _with_artefacts(
    section: Section,
    *,
    tables: dict[str, dict[str, PrintedTable]],
    figures: dict[str, dict[str, str]],
    study: StudyResults,
) -> Section:
    """The section with the tables and figures declared for it, between its opening and closing blocks."""

    def inside(family: str, name: str) -> bool:
        return registry.load(family, name).CARD.section == section.name

    chosen = [table for name in tables if inside("tables", name) for table in _parts(tables[name], section)]
    blocks = [Block(table=table, heading=table.title if len(chosen) > 1 else "") for table in chosen]
    # footnotes that several tables of a section share are printed once, below all of them
    blocks += [Block(small=note) for note in dict.fromkeys(note for table in chosen for note in table.notes)]
    for name in figures:
        if inside("figures", name):
            blocks += _figures(name, figures[name], section=section, study=study)
    return section.around(blocks)


def _parts(by_part: dict[str, Any], section: Section) -> list[Any]:
    """All parts of an artefact; in the section of a dataset, those about it."""
    return [part for about, part in by_part.items() if not section.dataset or about == section.dataset]


def _figures(name: str, by_part: dict[str, str], *, section: Section, study: StudyResults) -> list[Block]:
    """A figure's parts, or the reason why there are none."""
    module = registry.load("figures", name)
    caption = module.CARD.caption.format(correction=verdict.correction(study.grid))
    blocks = []
    for about, svg in by_part.items():
        if not section.dataset or about == section.dataset:
            title = module.CARD.title + (f": {about}" if about else "")
            whole = drawing.inlined(svg, name=artefacts.file_name(name, about), title=escape(title))
            blocks.append(Block(svg=whole, caption=caption))
    if not by_part and hasattr(module, "reason_for_none"):
        blocks.append(Block(small=module.reason_for_none(study)))
    return blocks


def rendered(template: str, **content: Any) -> str:
    """A page from its template, with all text escaped."""
    pages = templates(TEMPLATES, trim_blocks=True, lstrip_blocks=True)
    style = markupsafe.Markup((TEMPLATES / "style.css").read_text())
    return pages.get_template(template).render(style=style, **content).strip() + "\n"


def _drawn(section: Section) -> dict[str, Any]:
    """A section for the template."""
    blocks = [
        {
            "heading": block.heading,
            "text": block.text,
            "small": block.small,
            "lines": block.lines,
            "table": _table(block.table) if block.table is not None else None,
            "svg": markupsafe.Markup(block.svg),
            "caption": block.caption,
        }
        for block in section.blocks
    ]
    return {"id": section.id, "title": section.title, "nav": section.nav, "lead": section.lead, "blocks": blocks}


def _table(table: PrintedTable) -> dict[str, Any]:
    """A table for a template."""
    if table.comparisons is not None:
        return _differences(table.shown, table.comparisons)
    rows = [{"kind": "first", "cells": cells, "again": (), "remark": ""} for cells in table.shown.to_dict("records")]
    return {"columns": list(table.shown.columns), "words": list(table.words), "rows": rows}


def _differences(shown: pd.DataFrame, rows: pd.DataFrame) -> dict[str, Any]:
    """Comparisons for a template: a label's name once, and its note below its rows, or instead of empty ones."""
    lines: list[dict] = []
    columns = [column for column in shown.columns if column != "Note"]
    identifying = [column for column in columns if column in ("Dataset", "Metric", "Recipe", "Label")]
    for _, group in rows.groupby(formatting.opens_group(rows).cumsum(), sort=False):
        macro = "macro " if is_mean(group["label"].iloc[0]) else ""
        note = group["note"].iloc[0]
        if group["value"].isna().all():
            cells = shown.loc[group.index[0], identifying].to_dict()
            lines.append({"kind": f"{macro}first", "cells": cells, "again": (), "remark": note})
            continue
        for position, (at, significant) in enumerate(group["significant"].items()):
            kind = macro + ("significant " if significant else "") + ("" if position else "first")
            cells = shown.loc[at, columns].to_dict()
            lines.append({"kind": kind, "cells": cells, "again": identifying if position else (), "remark": ""})
        if note:
            lines.append({"kind": macro.strip(), "cells": {}, "again": (), "remark": note})
    return {"columns": columns, "words": list(text.LEFT), "rows": lines}
