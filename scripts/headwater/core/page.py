"""Pages: headed parts of lines and tables, for a terminal or as one HTML file."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from headwater.core import text

if TYPE_CHECKING:
    import pandas as pd


WIDTH = 120


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page as headed parts, each lines of text or tables under their titles."""

    title: str
    said: list[str]
    parts: list[tuple[str, pd.DataFrame | list[str]]]


def as_text(page: Page) -> str:
    """The page for a terminal."""
    pieces = [page.title, "\n".join(textwrap.fill(line, width=WIDTH) for line in page.said)]
    for title, part in page.parts:
        body = "\n".join(map(_indented, part)) if isinstance(part, list) else text.as_text(part)
        pieces.append(f"{title}\n{body}" if title else body)
    return "\n\n".join(pieces)


def _indented(line: str) -> str:
    """A line below its title; no word is broken, so that a path can be copied."""
    deep = " " * (len(line) - len(line.lstrip()) + 2)
    whole = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(line.strip(), width=WIDTH, initial_indent=deep, subsequent_indent=deep, **whole)


STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em}"
    "table{border-collapse:collapse}td,th{padding:.2em .8em;border-bottom:1px solid #ccc;text-align:left}"
    "pre{white-space:pre-wrap}"
)


def as_html(page: Page) -> str:
    """The page as one file that needs no other."""
    body = [f"<h1>{escape(page.title)}</h1>", *(f"<p>{escape(line)}</p>" for line in page.said)]
    for title, part in page.parts:
        body.append(f"<h2>{escape(title)}</h2>" if title else "")
        if isinstance(part, list):
            body.append(f"<pre>{escape(chr(10).join(part))}</pre>")
        else:
            body.append(part.to_html(index=False, border=0, na_rep=""))
    head = f'<meta charset="utf-8"><title>{escape(page.title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"
