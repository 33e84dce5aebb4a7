"""Finds a number of a report: a row of a table by its number or its words, or a number by its name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from headwater.core import files as core_files
from headwater.core.errors import UserError, did_you_mean
from headwater.reporting import artefacts, pivot
from headwater.reporting.named_values import places
from headwater.reporting.provenance import AT_HOME
from headwater.reporting.trace_report import Report, read_table
from headwater.study import config as study_config
from headwater.study.paths import Paths

ROW_NAMES = ("dataset", "fitted_to", "metric", "recipe", "label", "scores", "characteristic", "group", "source")
"""Columns whose words identify a row; the reference is used if these are ambiguous."""

MOST_SHOWN = 12
"""Largest number of rows that are listed if words are ambiguous."""

QUANTITIES = (
    *("value", "difference", "difference_low", "difference_high", "p", "p_adjusted"),
    *("intercept", "slope", "brier", "ratio", "sensitivity", "specificity", "ppv", "npv"),
)
"""The numbers of a row that are printed."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A row of a table or a number by name, and the runs that it comes from."""

    title: str
    lines: list[str]
    dataset: str
    runs: pd.DataFrame
    product: str = ""
    """The dataset's result that the table shows; "" for comparisons."""


def find_file(table: str, *, config: Path | None) -> Path:
    """The file of a table, given as a path or a name; for an unknown one the error has the most similar name."""
    file = Path(table)
    if config is not None and file.name == table:
        file = Path(Paths(study_config.read(config).results).report()) / table
    if file.suffix not in (".csv", ".json"):
        file = file.with_name(file.name + (".json" if file.name == "numbers" else ".csv"))
    if file.is_file():
        return file
    tables = [*(path.stem for path in file.parent.glob("*.csv") if path.stem != "provenance"), "numbers"]
    if not file.parent.is_dir():
        raise UserError("there is no such file", file=file, remedy="give the path of a table, or its name and --config")
    raise UserError("there is no such table", file=file, remedy=did_you_mean(file.stem, tables))


def words_of(row: list[str]) -> list[str]:
    """The words of a request, whether quoted together or not."""
    words = [word for part in row for word in part.split()]
    if not words:
        raise UserError("no row is given", remedy="give its number, or words that only it has")
    return words


def find(report: Report, file: Path, words: list[str]) -> Number:
    """The number that the words identify."""
    if file.name == "numbers.json":
        return _by_name(report, file, " ".join(words))
    rows = read_table(file)
    if not {"provenance", "dataset"} <= set(rows):
        tables = [name for name, formats in artefacts.table_files(report.grid).items() if "csv" in formats]
        remedy = f"choose one of {', '.join(name for name in tables if name != file.stem)}"
        raise UserError("has no rows that come from runs", file=file, remedy=remedy)
    at = _chosen(rows, words, file=file)
    row = rows.iloc[at].to_dict()
    return Number(
        title=f"{file}, row {at + 1}",
        lines=[_place(row), *_figures(row)],
        dataset=row["dataset"],
        runs=report.runs_of(row["provenance"]),
        product=artefacts.products().get(file.stem, ""),
    )


def _place(row: dict[str, Any]) -> str:
    """The columns that identify a row, as text."""
    where = ", ".join(str(row[name]) for name in ROW_NAMES[:-1] if name in row)
    if "source" not in row:
        return where
    return f"{where}: {row['source']}" + (f" against {row['reference']}" if row.get("reference") else "")


def _figures(row: dict[str, Any]) -> list[str]:
    """The numbers of a row to print."""
    shown = {name: row[name] for name in row if name.rpartition(".")[2] in QUANTITIES and not pd.isna(row[name])}
    return [", ".join(f"{name} {number!r}" for name, number in shown.items())]


def _chosen(rows: pd.DataFrame, words: list[str], *, file: Path) -> int:
    """The position of the row that a number or words identify; ambiguous words are refused."""
    if len(words) == 1 and words[0].isdecimal():
        if not 1 <= int(words[0]) <= len(rows):
            raise UserError(f"has no row {words[0]}", file=file, remedy=f"give one from 1 to {len(rows)}")
        return int(words[0]) - 1
    own = [name for name in ROW_NAMES if name in rows]
    matching = _having(rows, words, own)
    if len(matching) != 1 and "reference" in rows:
        # a reference is also in the rows of the sources compared with it; its own rows come first
        matching = matching or _having(rows, words, [*own, "reference"])
    if len(matching) == 1:
        return matching[0]
    if not matching:
        all_words = set().union(*(_words_in(row, [*own, "reference"]) for row in rows.to_dict("records")))
        unknown = next((word for word in words if word.casefold() not in all_words), None)
        remedy = did_you_mean(unknown, all_words) if unknown else "leave one of them out"
        raise UserError(f"no row has the words {' '.join(words)}", file=file, remedy=remedy)
    listed = [f"{at + 1} ({_place(rows.iloc[at].to_dict())})" for at in matching[:MOST_SHOWN]]
    more = [f"and {len(matching) - MOST_SHOWN} more"] if len(matching) > MOST_SHOWN else []
    raise UserError(
        f"{len(matching)} rows have the words {' '.join(words)}",
        file=file,
        remedy="choose one: " + ", ".join(listed + more),
    )


def _having(rows: pd.DataFrame, words: list[str], columns: list[str]) -> list[int]:
    """The positions of the rows that have all words in these columns."""
    folded = {word.casefold() for word in words}
    return [at for at, row in enumerate(rows.to_dict("records")) if folded <= _words_in(row, columns)]


def _words_in(row: dict[str, Any], columns: list[str]) -> set[str]:
    """The words of a row, and its whole cells."""
    cells = [str(row[name]).casefold() for name in columns if row.get(name)]
    return {*cells, *(word for cell in cells for word in cell.split())}


def _by_name(report: Report, file: Path, name: str) -> Number:
    """A number of numbers.json: of a pair, of a source, or of a label with all sources."""
    numbers = core_files.read_record(file)
    if name not in numbers:
        raise UserError(f"there is no number called {name!r}", file=file, remedy=did_you_mean(name, numbers))
    # the longest prefix first, since that of a label is also one of its sources and pairs
    for prefix, row, sources in sorted(_prefixes(report), key=lambda named: -len(named[0])):
        if name.startswith(f"{prefix}."):
            runs = _runs_of(report, row, sources)
            return Number(title=f"{file}, {name}", lines=[f"{numbers[name]!r}"], dataset=row["dataset"], runs=runs)
    raise UserError(f"{name} is a count over the whole study, not from single runs", file=file)


def _runs_of(report: Report, row: dict[str, Any], sources: list[str]) -> pd.DataFrame:
    """The runs of sources, all seeds, by which a row's label was compared."""
    rows = read_table(report.folder / "significance.csv")
    rows = rows[
        rows[["dataset", "recipe"]].eq([row["dataset"], row["recipe"]]).all(axis=1) & rows["source"].isin(sources)
    ]
    runs = pd.concat([report.runs_of(name) for name in rows["provenance"].unique()])
    return runs[runs["source"].isin(sources) & (runs["file"] == AT_HOME)].drop_duplicates("run")


def _prefixes(report: Report) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """(prefix of a name, row, its sources) for each label, source and pair."""
    rows = read_table(report.folder / "significance.csv")
    named = places(rows)
    sources = [source.name for source in report.grid.sources]
    for row in rows.to_dict("records"):
        place = named[tuple(row[name] for name in pivot.PLACE)]
        own, other = row["source"], row["reference"]
        yield place, row, sources
        yield f"{place}.{own}", row, [row["source"]]
        if other:
            yield f"{place}.{own}.vs.{other}", row, [row["source"], row["reference"]]
