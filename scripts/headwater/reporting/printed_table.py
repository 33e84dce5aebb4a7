"""A table of the report as people read it: words and rounded numbers beside the numbers in full precision."""

from dataclasses import dataclass, field

import pandas as pd

from headwater.core import text


@dataclass(frozen=True, kw_only=True)
class PrintedTable:
    """One table of the report, before it is written in any format."""

    title: str
    shown: pd.DataFrame
    """Words and rounded numbers, as Markdown, LaTeX and HTML print them."""
    bold: pd.DataFrame
    """Which cells of it are bold."""
    exact: pd.DataFrame
    """The numbers in full precision, as the .csv holds them."""
    warnings: list[str] = field(default_factory=list)
    """What a reader must know before the first number."""
    notes: list[str] = field(default_factory=list)
    """The footnotes."""
    words: tuple[str, ...] = text.LEFT
    """Columns of words, which HTML sets flush left."""
    comparisons: pd.DataFrame | None = None
    """The comparison behind each line, where HTML shall print a label once for all its lines."""


def plain(shown: pd.DataFrame) -> pd.DataFrame:
    """The `bold` of a table in which no cell is."""
    return pd.DataFrame(False, index=shown.index, columns=shown.columns)
