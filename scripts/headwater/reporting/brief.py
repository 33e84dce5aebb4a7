"""The end of a study on a terminal: its verdict, the macro of each source, and where the page is."""

import math
import textwrap
from itertools import takewhile
from pathlib import Path

import pandas as pd

from headwater.core import text
from headwater.data.tables import MACRO
from headwater.reporting.trace_report import read_table
from headwater.study.paths import Paths

WIDTH = 100
"""Characters of a line; a table that is wider leaves its intervals out."""


def brief(paths: Paths) -> str:
    """The verdict, a table of macros and the path of the page, from the files of a report."""
    parts = Path(paths.summary()).read_text(encoding="utf-8").split("\n\n")
    # what comes before the tables: warnings and the verdict
    words = takewhile(lambda part: not part.startswith("Dataset"), parts)
    verdict = [textwrap.fill(part, width=WIDTH, break_on_hyphens=False) for part in words]
    table = macros(read_table(Path(paths.table("significance"))))
    return "\n\n".join([*verdict, table, f"Page: {paths.page()}"])


def macros(rows: pd.DataFrame) -> str:
    """A line for each macro of a source, with its difference to the reference, at most 100 characters wide."""
    for intervals in (True, False):
        table = text.as_text(shown(rows, intervals=intervals))
        if max(map(len, table.splitlines())) <= WIDTH:
            return table
    return "\n".join(line[:WIDTH] for line in table.splitlines())


def shown(rows: pd.DataFrame, *, intervals: bool) -> pd.DataFrame:
    """The macros as a table for people; columns that say the same everywhere are left out."""
    means = rows[rows["label"] == MACRO]
    lines = list(means.itertuples())
    columns = {
        "Dataset": means["dataset"].tolist(),
        "Metric": means["metric"].tolist(),
        "Recipe": means["recipe"].tolist(),
        "Source": means["source"].tolist(),
        "Macro": [_estimate(row, "value", intervals=intervals) for row in lines],
        "Difference": [_estimate(row, "difference", intervals=intervals, sign="+") for row in lines],
        "Adjusted p": [text.p_value(row.p_adjusted) for row in lines],
    }
    table = pd.DataFrame(columns)
    return table.drop(columns=[name for name in ("Metric", "Recipe") if len(set(table[name])) == 1])


def _estimate(row: tuple, name: str, *, intervals: bool, sign: str = "") -> str:
    """A number with its interval."""
    value, low, high = (getattr(row, column) for column in (name, f"{name}_low", f"{name}_high"))
    if math.isnan(value) or not intervals or math.isnan(low):
        return text.three(value, sign=sign)
    return f"{text.three(value, sign=sign)} [{text.three(low, sign=sign)}, {text.three(high, sign=sign)}]"
