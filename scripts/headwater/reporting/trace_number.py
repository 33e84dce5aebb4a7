"""Which number of a report is meant: a row of a table by its number or its words, or a number by its name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from headwater.core import files as core_files
from headwater.core.errors import UserError, did_you_mean
from headwater.reporting import artefacts, pivot
from headwater.reporting.named_values import part_of_name
from headwater.reporting.provenance import AT_HOME
from headwater.reporting.trace_report import Report, read_table
from headwater.study import config as study_config
from headwater.study.paths import Paths

ROW_NAMES = ("dataset", "fitted_to", "metric", "recipe", "label", "scores", "characteristic", "group", "source")
"""Columns whose words identify a row; the reference is used where these leave a choice."""

MOST_SHOWN = 12
"""Rows that are listed where words mean several."""

QUANTITIES = (
    *("value", "difference", "difference_low", "difference_high", "p", "p_adjusted"),
    *("intercept", "slope", "brier", "ratio", "sensitivity", "specificity", "ppv", "npv"),
)
"""The numbers of a row that are asked about most."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """What is asked about: a row of a table or a number by name, and the runs behind it."""

    title: str
    lines: list[str]
    dataset: str
    runs: pd.DataFrame
    product: str = ""
    """Which of the dataset's results the table shows; "" for comparisons."""


def find_file(table: str, *, config: Path | None) -> Path:
    """The file that is meant; the refusal of an unknown one names the nearest."""
    given = Path(table)
    if config is not None and given.name == table:
        given = Path(Paths(study_config.read(config).results).report()) / table
    if given.suffix not in (".csv", ".json"):
        given = given.with_name(given.name + (".json" if given.name == "numbers" else ".csv"))
    if given.is_file():
        return given
    tables = [*(file.stem for file in given.parent.glob("*.csv") if file.stem != "provenance"), "numbers"]
    if not given.parent.is_dir():
        raise UserError(
            "there is no such file", file=given, remedy="give the path of a table, or its name and --config"
        )
    raise UserError("there is no such table", file=given, remedy=did_you_mean(given.stem, tables))


def words_of(row: list[str]) -> list[str]:
    """What was asked for, word by word, quoted or not."""
    words = [word for part in row for word in part.split()]
    if not words:
        raise UserError("which row?", remedy="give its number, or words that only it has")
    return words


def find(report: Report, file: Path, words: list[str]) -> Number:
    """The number that the words mean."""
    if file.name == "numbers.json":
        return _by_name(report, file, " ".join(words))
    rows = read_table(file)
    if not {"provenance", "dataset"} <= set(rows):
        others = [name for name, formats in artefacts.table_files(report.grid).items() if "csv" in formats]
        remedy = f"choose one of {', '.join(name for name in others if name != file.stem)}"
        raise UserError("has no rows that come from runs", file=file, remedy=remedy)
    at = _chosen(rows, words, file=file)
    row = rows.iloc[at].to_dict()
    return Number(
        title=f"{file}, row {at + 1}",
        lines=[_place(row), *_figures(row)],
        dataset=row["dataset"],
        runs=report.sets[report.sets["provenance"] == row["provenance"]],
        product=artefacts.products().get(file.stem, ""),
    )


def _place(row: dict[str, Any]) -> str:
    """What a row is about."""
    where = ", ".join(str(row[name]) for name in ROW_NAMES[:-1] if name in row)
    if "source" not in row:
        return where
    return f"{where}: {row['source']}" + (f" against {row['reference']}" if row.get("reference") else "")


def _figures(row: dict[str, Any]) -> list[str]:
    """The numbers of a row that are asked about most."""
    shown = {name: row[name] for name in row if name.rpartition(".")[2] in QUANTITIES and not pd.isna(row[name])}
    return [", ".join(f"{name} {number!r}" for name, number in shown.items())]


def _chosen(rows: pd.DataFrame, words: list[str], *, file: Path) -> int:
    """The position of the one row that a number or words mean."""
    if len(words) == 1 and words[0].isdecimal():
        if not 1 <= int(words[0]) <= len(rows):
            raise UserError(f"has no row {words[0]}", file=file, remedy=f"give one from 1 to {len(rows)}")
        return int(words[0]) - 1
    own = [name for name in ROW_NAMES if name in rows]
    matching = _having(rows, words, own)
    if len(matching) != 1 and "reference" in rows:
        # a source that others are compared with is in their rows, too; its own come first
        matching = matching or _having(rows, words, [*own, "reference"])
    if len(matching) == 1:
        return matching[0]
    if not matching:
        spelt = set().union(*(_spelt(row, [*own, "reference"]) for row in rows.to_dict("records")))
        strange = next((word for word in words if word.casefold() not in spelt), None)
        remedy = did_you_mean(strange, spelt) if strange else "leave one of them out"
        raise UserError(f"no row has the words {' '.join(words)}", file=file, remedy=remedy)
    listed = [f"{at + 1} ({_place(rows.iloc[at].to_dict())})" for at in matching[:MOST_SHOWN]]
    more = [f"and {len(matching) - MOST_SHOWN} more"] if len(matching) > MOST_SHOWN else []
    raise UserError(
        f"{len(matching)} rows have the words {' '.join(words)}",
        file=file,
        remedy="say which: " + ", ".join(listed + more),
    )


def _having(rows: pd.DataFrame, words: list[str], columns: list[str]) -> list[int]:
    """The positions of the rows that have all words in these columns."""
    wanted = {word.casefold() for word in words}
    return [at for at, row in enumerate(rows.to_dict("records")) if wanted <= _spelt(row, columns)]


def _spelt(row: dict[str, Any], columns: list[str]) -> set[str]:
    """The words of a row, and its whole cells."""
    cells = [str(row[name]).casefold() for name in columns if row.get(name)]
    return {*cells, *(word for cell in cells for word in cell.split())}


def _by_name(report: Report, file: Path, name: str) -> Number:
    """A number of numbers.json: of a pair, of one source, or of all that a place has."""
    numbers = core_files.read_json(file)
    if name not in numbers:
        raise UserError(f"there is no number called {name!r}", file=file, remedy=did_you_mean(name, numbers))
    for prefix, row, sources in sorted(_prefixes(report), key=lambda named: -len(named[0])):
        if name.startswith(f"{prefix}."):
            runs = report.sets[report.sets[["dataset", "recipe"]].eq([row["dataset"], row["recipe"]]).all(axis=1)]
            runs = runs[runs["source"].isin(sources) & (runs["file"] == AT_HOME)].drop_duplicates("run")
            return Number(title=f"{file}, {name}", lines=[f"{numbers[name]!r}"], dataset=row["dataset"], runs=runs)
    raise UserError(f"{name} is counted over the whole study, and comes from no single run", file=file)


def _prefixes(report: Report) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """(beginning of a name, row, its sources): of each pair, of each source, and of each place."""
    rows = read_table(report.folder / "significance.csv").to_dict("records")
    sources = [source.name for source in report.grid.sources]
    for row in rows:
        place = ".".join(part_of_name(row[name]) for name in pivot.PLACE)
        own, other = part_of_name(row["source"]), part_of_name(row["reference"])
        yield place, row, sources
        yield f"{place}.{own}", row, [row["source"]]
        if other:
            yield f"{place}.{own}.vs.{other}", row, [row["source"], row["reference"]]
