"""Provenance: the files that a number was made from, by the SHA-256 that each product records of its inputs."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from headwater.core.errors import UserError
from headwater.core.fingerprints import LENGTH, NOT_RECORDED
from headwater.evaluation.run_files import RUN_FILES
from headwater.study.grid import Grid
from headwater.study.paths import ELSEWHERE, VALIDATION
from headwater.study.paths import PREDICTIONS as AT_HOME

Place = tuple[str, str, str, str]
"""(fitted dataset, recipe, source, name of the predictions' file), for all seeds together."""

RUN = ["dataset", "recipe", "source", "seed"]
"""The columns that identify a run."""


def read(files: list[Path]) -> "ProvenanceIndex":
    """The index of several tables of provenance, which must not contradict each other."""
    whole = pd.concat([RUN_FILES.read(file) for file in sorted(set(files))]).drop_duplicates()
    twice = whole[whole.duplicated(["run", "file"])]
    if len(twice):
        file, run = twice["file"].iloc[0], twice["run"].iloc[0]
        remedy = "delete them and run snakemake again"
        raise UserError(f"disagree about {file} of {run}", file=", ".join(map(str, files)), remedy=remedy)
    return ProvenanceIndex(whole)


def name_of(predictions: Iterable[str]) -> str:
    """The name of a set of files, by their SHA-256."""
    return hashlib.sha256("\n".join(sorted(predictions)).encode()).hexdigest()[:LENGTH]


class ProvenanceIndex:
    """Names for sets of files, derived from their SHA-256, and the files of each name."""

    def __init__(self, files: pd.DataFrame):
        self.files = files.sort_values([*RUN, "file"], ignore_index=True)
        self.sets: dict[str, pd.DataFrame] = {}
        groups = self.files.groupby(["dataset", "recipe", "source", "file"])
        self.at = {place: set(rows) for place, rows in groups.indices.items()}

    def name(self, places: Iterable[Place]) -> str:
        """The name of all seeds' files at some places, which depends on their content only."""
        files = self.files.iloc[sorted(set().union(*(self.at[place] for place in places)))]
        name = name_of(files["predictions"])
        self.sets[name] = files
        return name

    def refuse_other_records(self, grid: Grid) -> None:
        """Refuse predictions of a run whose settings are not those of the config."""
        records = {run.path: run.digest for dataset in grid.datasets for run in grid.runs(dataset.name)}
        for row in self.files.itertuples():
            wanted = records.get(row.run, row.record)
            if row.record not in (wanted, NOT_RECORDED):
                raise UserError(
                    f"run {row.run} was compared with other settings: its record is {row.record}, that of the config"
                    f" is {wanted}",
                    remedy="restore the config, or delete the run's folder and run snakemake again",
                )

    def table(self) -> pd.DataFrame:
        """One row per name and file, for all names that were requested."""
        whole = pd.concat([part.assign(provenance=name) for name, part in self.sets.items()])
        columns = ["provenance", *self.files.columns]
        return whole.sort_values(["provenance", *RUN, "file"], ignore_index=True)[columns]


def of_comparisons(rows: pd.DataFrame, index: ProvenanceIndex) -> pd.DataFrame:
    """The comparisons with a column that names the predictions of a row's source and reference."""
    sources = {source for _, _, source, _ in index.at}

    def name(row: Any) -> str:
        both = [source for source in (row.source, row.reference) if source in sources]
        return index.name((row.dataset, row.recipe, source, AT_HOME) for source in both)

    return rows.assign(provenance=[name(row) for row in rows.itertuples()])


def of_lines(lines: pd.DataFrame, index: ProvenanceIndex, *, grid: Grid) -> pd.DataFrame:
    """The lines of a pivot table with a column that names the predictions of all sources without controls."""
    places = list(zip(lines["dataset"], lines["recipe"], strict=True))
    sources = {
        dataset: [source.name for source in grid.fitted_to(dataset) if not source.control] for dataset, _ in places
    }
    return lines.assign(
        provenance=[index.name((*place, source, AT_HOME) for source in sources[place[0]]) for place in places]
    )


def of_networks(rows: pd.DataFrame, index: ProvenanceIndex) -> pd.DataFrame:
    """Calibration or operating points, which also depend on a network's predictions on its own validation split."""

    def name(row: Any) -> str:
        tested = AT_HOME if row.fitted_to == row.dataset else ELSEWHERE
        return index.name((row.fitted_to, row.recipe, row.source, file) for file in (tested, VALIDATION))

    return rows.assign(provenance=[name(row) for row in rows.itertuples()])


def of_sources(rows: pd.DataFrame, index: ProvenanceIndex) -> pd.DataFrame:
    """Rows that each depend on the predictions of one source."""
    return rows.assign(
        provenance=[index.name([(row.dataset, row.recipe, row.source, AT_HOME)]) for row in rows.itertuples()]
    )


def of_cells(rows: pd.DataFrame, index: ProvenanceIndex, *, tested_on: Iterable[str] | None = None) -> pd.DataFrame:
    """Cells of external validation: predictions of guests, and of the home networks that they are compared with.

    A line of the printed table has the cells of all datasets in `tested_on`.
    """

    def name(row: Any) -> str:
        tested = [row.dataset] if tested_on is None else list(tested_on)
        places = [(dataset, row.recipe, row.source, AT_HOME) for dataset in tested]
        # networks of a dataset that shares no finding with another have no file of predictions elsewhere
        abroad = (row.fitted_to, row.recipe, row.source, ELSEWHERE)
        return index.name([*places, abroad] if set(tested) - {row.fitted_to} and abroad in index.at else places)

    return rows.assign(provenance=[name(row) for row in rows.itertuples()])
