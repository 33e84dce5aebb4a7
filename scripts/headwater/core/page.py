"""Pages: titled parts of lines and tables, as text for a terminal or as one HTML file."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core import text
from headwater.core.characters import visible
from headwater.core.destinations import for_html

if TYPE_CHECKING:
    import jinja2
    import pandas as pd


WIDTH = 120

TEMPLATES = Path(__file__).parent / "pages"

TONES = {
    **{"done": "good", "fitted": "busy", "running": "busy", "queued": "idle", "failed": "bad", "blocked": "warn"},
    **{"ERROR": "bad", "WARNING": "warn", "NOTE": "idle"},
}
"""The template's style class for each state and severity."""

NAMED = re.compile(r"([A-Z][\w, ]{0,11}?) {2,}(.*)")
"""A line that begins with a name, followed by blanks that align such lines."""


@dataclass(frozen=True, kw_only=True)
class Charts:
    """Drawings as SVG side by side, where there is room, and what they show; a terminal has none."""

    svgs: tuple[str, ...]
    caption: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """A title, sentences below it, and titled parts, each lines of text, a table or charts.

    A line may be indented below the previous one, or begin with a severity or with a name and at least two blanks.
    """

    title: str
    summary: list[str]
    parts: list[tuple[str, pd.DataFrame | list[str] | Charts]]


def as_text(page: Page) -> str:
    """The page as text for a terminal."""
    pieces = [visible(page.title), "\n".join(textwrap.fill(visible(line), width=WIDTH) for line in page.summary)]
    for title, part in page.parts:
        if isinstance(part, Charts):
            continue
        body = "\n".join(_indented(visible(line)) for line in part) if isinstance(part, list) else text.as_text(part)
        pieces.append(f"{title}\n{body}" if title else body)
    return "\n\n".join(pieces)


def _indented(line: str) -> str:
    """A line indented below its title and wrapped."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    name = NAMED.match(line)
    deeper = indent + " " * (name.start(2) if name else 0)
    # words are not broken, so that paths can be copied
    unbroken = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(line.strip(), width=WIDTH, initial_indent=indent, subsequent_indent=deeper, **unbroken)


# as HTML


def as_html(page: Page) -> str:
    """The page as one self-contained HTML file."""
    template = templates(TEMPLATES).get_template("page.html")
    return template.render(page=page, parts=list(map(_part, page.parts))) + "\n"


def templates(folder: Path, **settings: Any) -> jinja2.Environment:
    """The templates of HTML pages in a folder: whatever text they are given is shown as that text."""
    # imported here, because pages for the terminal need not wait for it
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        finalize=for_html,
        undefined=jinja2.StrictUndefined,
        **settings,
    )


def _part(part: tuple[str, pd.DataFrame | list[str] | Charts]) -> dict[str, Any]:
    """A part as the template needs it."""
    # imported here, because pages for the terminal need not wait for it
    import markupsafe

    title, content = part
    if isinstance(content, Charts):
        return {"title": title, "svgs": list(map(markupsafe.Markup, content.svgs)), "caption": content.caption}
    if isinstance(content, list):
        return {"title": title, "rows": None, "lines": [_line(line) for line in content]}
    sides = text.align(content)
    heads = [{"text": column, "side": side} for column, side in zip(content.columns, sides, strict=True)]
    rows = [list(_cells(row, columns=list(content.columns), sides=sides)) for row in content.itertuples(index=False)]
    return {"title": title, "rows": rows, "heads": heads}


def _line(line: str) -> dict[str, str]:
    """A line split into the severity or name at its beginning and the rest."""
    severity = line.partition(":")[0]
    if severity in TONES:
        return {"form": "", "head": severity, "tone": TONES[severity], "text": line.removeprefix(severity)}
    if name := NAMED.match(line):
        return {"form": "named", "head": name[1], "tone": "idle", "text": name[2]}
    return {"form": "below" if line.startswith(" ") else "", "head": "", "tone": "", "text": line.strip()}


def _cells(row: tuple, *, columns: list[str], sides: list[str]) -> Iterator[dict[str, str]]:
    """The cells of a row, styled by the state that a cell names, or a count by the state that its column names."""
    for value, column, side in zip(row, columns, sides, strict=True):
        # only NaN differs from itself
        words = "" if value != value else str(value)
        state = column if column in TONES and words != "0" else words.rpartition(" ")[2]
        tone = TONES.get(state, "idle" if words == "0" else "")
        yield {"text": words, "side": side, "tone": tone}
