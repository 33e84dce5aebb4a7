"""Text for people: counts with nouns, formatted numbers and p-values, plain tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from headwater.core.characters import visible

if TYPE_CHECKING:
    import pandas as pd


def many(count: int, noun: str) -> str:
    """A count with its noun: 1 run, 2 runs."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


NONE = "–"


LEFT = (
    *("Dataset", "Metric", "Recipe", "Label", "Fitted to", "Source", "Compared with", "Note", "Rule", "Of"),
    *("Characteristic", "Scores", "Group"),
)
"""Columns of text, aligned left; all others hold numbers and are aligned right."""


def three(value: float, *, sign: str = "") -> str:
    """A number to three decimals."""
    return plain(value, sign=sign, digits=3)


def plain(value: float, *, sign: str = "", digits: int) -> str:
    """A number to `digits` decimals, with a typographic minus."""
    if math.isnan(value):
        return NONE
    # a value that rounds to zero has no sign
    value = round(value, digits)
    return f"{abs(value):.{digits}f}" if value == 0 else f"{value:{sign}.{digits}f}".replace("-", "−")


SMALLEST_SHOWN = 1e-4


def p_value(p: float, *, floor: bool = False) -> str:
    """A p-value to four decimals, never 0; with `floor` it is the smallest that the resamples can give."""
    if math.isnan(p):
        return NONE
    if floor and p > 0:
        return f"≤{p:.{max(4, math.ceil(-math.log10(p)))}f}"
    return f"{p:.4f}" if p >= SMALLEST_SHOWN else f"<{SMALLEST_SHOWN:.4f}"


def as_text(table: pd.DataFrame) -> str:
    """The table as plain text for a terminal."""
    shown = table.map(lambda cell: visible(cell) if isinstance(cell, str) else cell)
    return shown.to_markdown(index=False, tablefmt="simple", colalign=align(table), disable_numparse=True)


def align(table: pd.DataFrame) -> list[str]:
    """The alignment of each column: text left, numbers right."""
    return ["left" if column in LEFT else "right" for column in table.columns]
