"""Printed tables: a table of the report as text and rounded numbers, and in full precision."""

from dataclasses import dataclass, field

import pandas as pd

from headwater.core import text
from headwater.study.grid import Grid


@dataclass(frozen=True, kw_only=True)
class PrintedTable:
    """One table of the report, before it is written in any format."""

    title: str
    shown: pd.DataFrame
    """Text and rounded numbers, for Markdown, LaTeX and HTML."""
    bold: pd.DataFrame
    """Whether each cell of `shown` is bold."""
    exact: pd.DataFrame
    """The numbers in full precision, for the .csv."""
    warnings: list[str] = field(default_factory=list)
    """Warnings above the table."""
    notes: list[str] = field(default_factory=list)
    """Footnotes."""
    words: tuple[str, ...] = text.LEFT
    """Columns of text, which HTML aligns to the left."""
    comparisons: pd.DataFrame | None = None
    """The comparison behind each line, if HTML should print a label once for all its lines."""
    grid: Grid | None = None
    """The study of these comparisons."""
    nothing: str = "Nothing could be measured."
    """What stands in its place if it has no lines."""


def plain(shown: pd.DataFrame) -> pd.DataFrame:
    """The `bold` of a table without bold cells."""
    return pd.DataFrame(False, index=shown.index, columns=shown.columns)
