"""Named values: every number of the tables under a unique name, so that a text can quote it without copying."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd

from headwater.core import text
from headwater.core.destinations import for_latex
from headwater.evaluation import multiplicity
from headwater.reporting import formatting, pivot
from headwater.study.grid import Grid

SHORT = {f"{whose}_{part}": part for whose in ("value", "difference") for part in ("se", "low", "high")}
"""Columns of the table of comparisons with a shorter name here."""

FLOORED = ("p", "p_percentile")
"""Columns whose smallest value may be limited by the number of resamples."""

WITH_SIGN = ("difference", "difference_low", "difference_high", "margin_low", "margin_high", "effect")


def numbers(rows: pd.DataFrame, *, grid: Grid) -> dict[str, tuple[float | int, str]]:
    """By name, the number in full precision and as the tables round it.

    A name is dataset.metric.recipe.label.source.value for a source, ...source.vs.reference.p for a pair, and
    dataset.metric.recipe.label.patients for a count.
    """
    values = {".".join(parts): (number, printed) for parts, number, printed in _named(rows, grid)}
    return dict(sorted(values.items()))


def places(rows: pd.DataFrame) -> dict[tuple[str, ...], str]:
    """The beginning of the names for each dataset, metric, recipe and label.

    Characters other than unaccented letters, digits, points, hyphens and underscores become hyphens. Labels that would
    then have one name have six digits of their own behind it.
    """
    whole = list(rows[pivot.PLACE].drop_duplicates().itertuples(index=False, name=None))
    names = [re.sub(r"[^A-Za-z0-9_.-]+", "-", ".".join(place)) for place in whole]
    shared = Counter(names)
    return {
        place: f"{name}-{hashlib.sha256(place[-1].encode()).hexdigest()[:6]}"
        if shared[name] > 1 and name != ".".join(place)
        else name
        for place, name in zip(whole, names, strict=True)
    }


def _named(rows: pd.DataFrame, grid: Grid) -> Iterator[tuple[tuple[str, ...], float | int, str]]:
    """(parts of its name, number, rounded) of every number."""
    for size in ("sources", "datasets", "recipes", "seeds"):
        count = len([part for part in getattr(grid, size) if not getattr(part, "control", None)])
        yield (size,), count, str(count)
    yield ("resamples",), grid.comparing.resamples, str(grid.comparing.resamples)
    for family in (multiplicity.CONFIRMATORY, multiplicity.EXPLORATORY, multiplicity.CONTROL):
        inside = rows["family"] == family
        for what, where in (("tests", inside), ("significant", inside & rows["significant"])):
            yield (family, what), int(where.sum()), str(int(where.sum()))
    sources = [source.name for source in grid.sources]
    named = places(rows)
    for place, part in rows.groupby(pivot.PLACE, sort=False):
        line = list(part.itertuples())
        for name in pivot.COUNTS:
            count = int(getattr(line[0], name))
            yield (named[place], name), count, str(count)
        for who, name, number in pivot.quantities(line, sources):
            row = next((row for row in line if (row.source, row.reference) == who), None)
            short = SHORT.get(name, name)
            yield (
                (named[place], *_who(*who), short),
                float(number),
                rounded(name, number, row=row, metric=line[0].metric),
            )


def _who(source: str, reference: str = "") -> tuple[str, ...]:
    """The parts of a name for a source or a pair."""
    return (source, "vs", reference) if reference else (source,)


def rounded(name: str, number: float, *, row: Any, metric: str) -> str:
    """A number by a metric as the tables show it; `row` is the comparison that it comes from, if there is one."""
    if name == "p_adjusted":
        return formatting.adjusted(row)
    if name == "published_p":
        return formatting.published_p(number)
    if name.startswith("p_") or name == "p":
        return text.p_value(number, floor=name in FLOORED and formatting.floored(row, name))
    if name == "degrees_of_freedom":
        return formatting.degrees(number)
    digits = 2 if name in ("effect", "superiority") else formatting.digits(metric)
    return text.plain(number, sign="+" if name in WITH_SIGN else "", digits=digits)


def as_json(values: dict[str, tuple[float | int, str]]) -> dict[str, float | int]:
    """The numbers in full precision, by name."""
    # JSON has no infinity, which degrees of freedom may have
    return {name: number for name, (number, _) in values.items() if math.isfinite(number)}


def as_latex(values: dict[str, tuple[float | int, str]]) -> str:
    """LaTeX definitions by which \\headwater{name} prints a rounded number, or an error for an unknown name."""
    lines = [
        "% \\input{numbers}, then \\headwater{NAME} prints the number of that NAME in numbers.json, rounded",
        r"\newcommand{\headwater}[1]{\ifcsname hw@#1\endcsname\csname hw@#1\endcsname\else"
        r"\PackageError{headwater}{There is no number called #1}{The names are in numbers.json.}\fi}",
        *(
            f"\\expandafter\\def\\csname hw@{name}\\endcsname{{{for_latex(printed)}}}"
            for name, (_, printed) in values.items()
        ),
    ]
    return "\n".join(lines) + "\n"
