"""Small counts: counts of so few patients that they could point to one of them are not shown, nor what tells them.

A count from 1 to one less than the study's `fewest_positive` is written as "<10", on pages and in .csv files alike.
Where a total less the counts beside it would tell it, the smallest of those is written as "≥10". Hidden are counts by
age, sex, projection and site, and of findings by split; the counts of a whole test split behind a test are shown.
"""

import numpy as np
import pandas as pd

OF_FINDING = ("positives", "positive_patients", "negative_patients")
OF_GROUP = ("patients", "cases")
"""The counts of a group, and those of a finding in it, which are hidden together."""

NUMBERED = r"described only: \d+ (.*), fewer than (\d+)"
"""A note that tells a small count."""

TOTALS = ("all", "cases", "patients")
"""The split and the characteristics that are totals, of which others are parts."""


def in_words(value: float, *, least: int) -> str:
    """What stands for a count that is not shown."""
    return f"<{least}" if value < least else f"≥{least}"


def hidden_groups(rows: pd.DataFrame, *, least: int) -> pd.DataFrame:
    """Rows of `subgroups` with text in place of small counts and of what would tell them."""
    few = _few(rows[[*OF_GROUP, *OF_FINDING]], least=least)
    by = [rows[name] for name in ("dataset", "recipe", "source", "label", "characteristic")]
    group = _with_neighbour(few[list(OF_GROUP)].any(axis=1), by=by, size=rows["patients"])
    finding = _with_neighbour(few[list(OF_FINDING)].any(axis=1) | group, by=by, size=rows["patients"])
    hidden = {**dict.fromkeys(OF_GROUP, group), **dict.fromkeys(OF_FINDING, finding)}
    shown = {name: _covered(rows[name], which, least=least) for name, which in hidden.items()}
    words = rows["note"].str.replace(NUMBERED, r"described only: <\2 \1", regex=True)
    return rows.assign(**shown, note=words.where(finding, rows["note"]))


def of_cohort(exact: pd.DataFrame, *, least: int) -> pd.Series:
    """What stands for each row of the table of characteristics, "" where its numbers are shown."""
    counted, rest = exact["value"].astype(float), exact["known"] - exact["value"].astype(float)
    # of an age the number of those who tell it is counted, and of two sides each tells the other
    counted = counted.where(exact["characteristic"] != "age", exact["known"])
    rest = rest.where(exact["characteristic"].isin(["women", "label"]), np.nan)
    hidden = _few(counted, least=least) | _few(rest, least=least) | _few(exact["known"], least=least)
    hidden &= ~exact["characteristic"].isin(TOTALS[1:])
    place = [exact[name] for name in ("dataset", "characteristic", "name")]
    parts = exact["split"] != TOTALS[0]
    projections = exact["characteristic"] == "projection"
    # hiding one may ask for another, of which there are few
    for _ in range(len(exact)):
        before = hidden
        for among, by in ((parts, place), (projections, [exact["dataset"], exact["split"]])):
            hidden = hidden | _with_neighbour(hidden & among, by=by, size=counted.where(among))
        if hidden.equals(before):
            break
    words = counted.map(lambda count: in_words(count, least=least))
    return words.where(hidden, "")


def _few(counts: pd.DataFrame | pd.Series, *, least: int) -> pd.DataFrame | pd.Series:
    return (counts > 0) & (counts < least)


def _covered(counts: pd.Series, hidden: pd.Series, *, least: int) -> pd.Series:
    """Counts with text in place of those that are hidden; whole numbers where none is."""
    if not hidden.any():
        return counts
    return counts.astype(object).mask(hidden, counts.map(lambda count: in_words(count, least=least)))


def _with_neighbour(hidden: pd.Series, *, by: list[pd.Series], size: pd.Series) -> pd.Series:
    """What is hidden, and where it stands alone among its like, the smallest of them that is above zero."""
    alone = hidden.groupby(by).transform("sum") == 1
    others = size.where(~hidden & alone & (size > 0))
    smallest = others.groupby(by).transform("min")
    return hidden | (others.notna() & (others == smallest))
