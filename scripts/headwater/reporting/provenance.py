"""Provenance: which files a number was made from, told by the fingerprints that each product keeps of its sources."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from headwater.core.errors import UserError
from headwater.core.fingerprints import LENGTH, NOT_RECORDED, sha256
from headwater.data.tables import read_table, told
from headwater.study.grid import Grid
from headwater.study.paths import ELSEWHERE, VALIDATION
from headwater.study.paths import PREDICTIONS as AT_HOME

PREDICTED = ("record", "model", "encoder", "split")
"""What predictions keep: digest of the run's record, fingerprints of model, encoder and split."""

"""What a run predicts: of its dataset's test split and validation split, and of other datasets' test splits."""

Place = tuple[str, str, str, str]
"""Dataset that was fitted to, recipe, source, and one of these files: of all seeds."""

RUN = ["dataset", "recipe", "source", "seed"]
"""What a run is known by."""


def of_predictions(file: Path, *, run: tuple[str, str, int], dataset: str) -> dict[str, Any]:
    """A row of the table of provenance: what a run predicted, and the fingerprints of what that came from."""
    source, recipe, seed = run
    kept = told(file)
    return {
        "dataset": dataset,
        "recipe": recipe,
        "source": source,
        "seed": seed,
        "run": f"{dataset}/{source}/{recipe}/seed{seed}",
        "file": file.name,
        "predictions": sha256(file),
        **{name: kept.get(name, NOT_RECORDED) for name in PREDICTED},
    }


def gathered(files: list[Path]) -> "Book":
    """What several tables of provenance tell, which must not contradict each other."""
    whole = pd.concat([read_table(file, "provenance") for file in sorted(set(files))]).drop_duplicates()
    twice = whole[whole.duplicated([*RUN, "file"])]
    if len(twice):
        file, run = twice["file"].iloc[0], twice["run"].iloc[0]
        remedy = "delete them and run snakemake again"
        raise UserError(f"disagree about {file} of {run}", file=", ".join(map(str, files)), remedy=remedy)
    return Book(whole)


class Book:
    """Names sets of files by their fingerprints, and remembers what each name stands for."""

    def __init__(self, files: pd.DataFrame):
        self.files = files.sort_values([*RUN, "file"], ignore_index=True)
        self.sets: dict[str, pd.DataFrame] = {}
        groups = self.files.groupby(["dataset", "recipe", "source", "file"])
        self.at = {place: set(rows) for place, rows in groups.indices.items()}

    def name(self, places: Iterable[Place]) -> str:
        """The name of all seeds' files at some places: it changes with every byte of them, and with nothing else."""
        found = self.files.iloc[sorted(set().union(*(self.at[place] for place in places)))]
        name = hashlib.sha256("\n".join(sorted(found["predictions"])).encode()).hexdigest()[:LENGTH]
        self.sets[name] = found
        return name

    def table(self) -> pd.DataFrame:
        """One row per name and file, for all names that were asked for."""
        whole = pd.concat([part.assign(provenance=name) for name, part in self.sets.items()])
        columns = ["provenance", *self.files.columns]
        return whole.sort_values(["provenance", *RUN, "file"], ignore_index=True)[columns]


def named(rows: pd.DataFrame, book: Book) -> pd.DataFrame:
    """The judged comparisons with a column that names the predictions of a row's source and reference."""
    sources = {source for _, _, source, _ in book.at}

    def name(row: Any) -> str:
        both = [source for source in (row.source, row.reference) if source in sources]
        return book.name((row.dataset, row.recipe, source, AT_HOME) for source in both)

    return rows.assign(provenance=[name(row) for row in rows.itertuples()])


def of_lines(lines: pd.DataFrame, book: Book, *, grid: Grid) -> pd.DataFrame:
    """The lines of a wide table with a column that names the predictions of all sources in it, the controls aside."""
    sources = [source.name for source in grid.sources if not source.control]
    places = zip(lines["dataset"], lines["recipe"], strict=True)
    return lines.assign(provenance=[book.name((*place, source, AT_HOME) for source in sources) for place in places])


def of_soundness(rows: pd.DataFrame, book: Book) -> pd.DataFrame:
    """Calibration or operating points, which rest on what a network predicted in its own validation split, too."""

    def name(row: Any) -> str:
        tested = AT_HOME if row.fitted_to == row.dataset else ELSEWHERE
        return book.name((row.fitted_to, row.recipe, row.source, file) for file in (tested, VALIDATION))

    return rows.assign(provenance=[name(row) for row in rows.itertuples()])


def of_sources(rows: pd.DataFrame, book: Book) -> pd.DataFrame:
    """Rows about the predictions of one source each."""
    return rows.assign(
        provenance=[book.name([(row.dataset, row.recipe, row.source, AT_HOME)]) for row in rows.itertuples()]
    )


def of_cells(rows: pd.DataFrame, book: Book, *, tested_on: Iterable[str] | None = None) -> pd.DataFrame:
    """Cells of the matrix: what guests predicted elsewhere, and those at home whom they are compared with.

    A line of the matrix has the cells of all datasets that are `tested_on`.
    """

    def name(row: Any) -> str:
        tested = [row.dataset] if tested_on is None else list(tested_on)
        places = [(dataset, row.recipe, row.source, AT_HOME) for dataset in tested]
        # where a dataset shares no finding with another, its networks have predicted nothing elsewhere
        abroad = (row.fitted_to, row.recipe, row.source, ELSEWHERE)
        return book.name([*places, abroad] if set(tested) - {row.fitted_to} and abroad in book.at else places)

    return rows.assign(provenance=[name(row) for row in rows.itertuples()])
