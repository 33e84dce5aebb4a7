"""Pivot tables: a line per finding or per test set and a column per source, as in papers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from headwater.core import text
from headwater.data.tables import MACRO
from headwater.evaluation import multiplicity
from headwater.reporting import footnotes, formatting, prose, provenance
from headwater.reporting.printed_table import PrintedTable, plain
from headwater.reporting.provenance import ProvenanceIndex
from headwater.study.grid import Grid

NOT_FITTED = "not fitted"
"""What stands in a cell of a source that a dataset does not ask for (`datasets.NAME.sources`)."""

NOT_COMPARED = "not compared"
"""What stands in a cell of two sources of which neither is the dataset's reference."""

PLACE = ["dataset", "metric", "recipe", "label"]
"""The columns that identify a line."""


def table(
    rows: pd.DataFrame, *, about: pd.DataFrame, title: str, without: list[str], grid: Grid, index: ProvenanceIndex
) -> PrintedTable:
    """These comparisons with a line per label and a column per source, without controls.

    Warnings and footnotes are those of the comparisons `about`; the columns `without` are not printed.
    """
    lines = [list(part.itertuples()) for _, part in rows.groupby(PLACE, sort=False)]
    sources = [source.name for source in grid.sources if not source.control]
    pairs = list(dict.fromkeys(pair for dataset in grid.datasets for pair in grid.comparison(dataset.name).pairs))
    shown = pd.DataFrame([_shown(line, sources, pairs, grid) for line in lines]).drop(
        columns=[*without, *formatting.single(grid)]
    )
    bold = plain(shown)
    for position, line in enumerate(lines):
        for row in line:
            if row.significant and row.family != multiplicity.CONTROL:
                bold.loc[position, _p_of(row.source, row.reference, grid)] = True
    exact = pd.DataFrame([_exact(line, sources) for line in lines])
    return PrintedTable(
        title=title,
        shown=shown,
        bold=bold,
        exact=provenance.of_lines(exact, index, grid=grid),
        warnings=prose.warnings(about, grid=grid),
        notes=footnotes.of_pivot(about, grid=grid),
    )


def _p_of(source: str, reference: str, grid: Grid) -> str:
    """The heading of a pair's column."""
    return f"p: {grid.wording.short('sources', source)} vs {grid.wording.short('sources', reference)}"


def _shown(line: list[Any], sources: list[str], pairs: list[tuple[str, str]], grid: Grid) -> dict[str, str]:
    """One printed line: its place, each source's value, and each pair's adjusted p."""
    first = line[0]
    cells = {
        "Dataset": formatting.dataset_of(first, grid),
        "Metric": formatting.titles(grid)[first.metric],
        "Recipe": grid.wording.title("recipes", first.recipe),
        # the mark of a failed control is here as well, as the column of the dataset may not be printed
        "Label": formatting.label_of(first, grid)
        + formatting.dataset_of(first, grid).removeprefix(grid.wording.title("datasets", first.dataset)),
    }
    published, digits = grid.comparing.method == "published", formatting.digits(first.metric)
    fitted = {row.source for row in line}
    for source in sources:
        values = value_of(line, source)
        numbers = [values[key] for key in ("value", "value_se", "value_low", "value_high")]
        called = grid.wording.short("sources", source)
        cells[called] = formatting.with_error(*numbers, digits=digits) if source in fitted else NOT_FITTED
        if published:
            spread = formatting.mean_and_sd(values["published_value"], values["published_sd"], digits=digits)
            cells[f"{called}, published way"] = spread
    if hasattr(first, "ceiling"):
        cells["Ceiling"] = text.plain(first.ceiling, digits=digits)
    tests = {(row.source, row.reference): row for row in line}
    for pair in pairs:
        row, none = tests.get(pair), NOT_COMPARED if fitted.issuperset(pair) else NOT_FITTED
        cells[_p_of(*pair, grid)] = formatting.adjusted(row) + (" *" if row.significant else "") if row else none
        if published:
            cells[f"{_p_of(*pair, grid)}, published way"] = formatting.published_p(row.published_p) if row else none
    return cells


VALUE = ("value", "value_se", "value_low", "value_high", "published_value", "published_sd")
"""The numbers of a source."""


def value_of(line: list[Any], source: str) -> dict[str, float]:
    """The numbers of a source, from the rows of one line, in which each source is first of a pair or alone.

    They are NaN of a source that is not fitted to the line's dataset.
    """
    row = next((row for row in line if row.source == source), None)
    return {name: getattr(row, name, np.nan) for name in VALUE}


PAIR = (
    *("difference", "difference_se", "difference_low", "difference_high", "degrees_of_freedom", "p", "p_adjusted"),
    *("p_percentile", "effect", "superiority", "p_noninferior", "p_noninferior_adjusted", "p_equivalent"),
    *("p_equivalent_adjusted", "margin_low", "margin_high", "published_p"),
)
"""The numbers of a pair."""

COUNTS = ("patients", "cases", "positives", "positive_patients", "negative_patients", "dropped")
"""The numbers of a label."""


def quantities(line: list[Any], sources: list[str]) -> Iterator[tuple[tuple[str, ...], str, float]]:
    """(source or source and reference, name, number) for all defined numbers of one line."""
    for source in sources:
        for name, number in value_of(line, source).items():
            if not np.isnan(number):
                yield (source,), name, number
    for row in line:
        for name in PAIR if row.reference and not np.isnan(row.difference) else ():
            if not np.isnan(getattr(row, name)):
                yield (row.source, row.reference), name, getattr(row, name)


def _exact(line: list[Any], sources: list[str]) -> dict[str, Any]:
    """One line in full precision, with its counts and columns `source.name` or `source.vs.reference.name`."""
    first = line[0]
    named = (*PLACE, *COUNTS, "few", "controls", *(["ceiling"] if hasattr(first, "ceiling") else []))
    place = {name: getattr(first, name) for name in named}
    return place | {f"{'.vs.'.join(who)}.{name}": number for who, name, number in quantities(line, sources)}


FEWEST_RANKED = 3, 2
"""The smallest numbers of sources and test sets for which ranks are compared."""


def ranked(rows: pd.DataFrame, *, grid: Grid) -> pd.DataFrame:
    """Each source's macro on each test set, for metrics and recipes with enough sources and test sets to rank.

    Ranks are among all sources, so test sets that only some are fitted to have none.
    """
    sources = [source.name for source in grid.sources if not source.control]
    whole = [dataset.name for dataset in grid.datasets if len(grid.fitted_to(dataset.name)) == len(grid.sources)]
    macros = rows[(rows["label"] == MACRO) & rows["dataset"].isin(whole)]
    lines = [list(part.itertuples()) for _, part in macros.groupby(PLACE, sort=False)]
    values = pd.DataFrame(
        [
            {**{name: getattr(line[0], name) for name in PLACE}, "source": source, **value_of(line, source)}
            for line in lines
            for source in sources
        ],
        columns=[*PLACE, "source", *VALUE],
    )
    values = values[values["value"].notna()]
    of_panel = values.groupby(["metric", "recipe"])
    enough = [of_panel[name].transform("nunique") for name in ("source", "dataset")]
    return values[(enough[0] >= FEWEST_RANKED[0]) & (enough[1] >= FEWEST_RANKED[1])]
