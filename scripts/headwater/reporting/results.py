"""The finished results of a study, each read when it is first used."""

from functools import cached_property
from pathlib import Path

import pandas as pd

from headwater.core.errors import UserError
from headwater.data import dropping
from headwater.data.index import LABELS, every_count
from headwater.data.leakage import LEDGER
from headwater.data.store import CASES, REJECTS
from headwater.data.tables import MACRO, OF_SUBSET, SPLITS, Table
from headwater.evaluation import bootstrap, calibration, external, multiplicity, operating_points, pairwise, roc
from headwater.evaluation import subgroups as subgroups_of
from headwater.reporting import ceilings, reduction_results
from headwater.reporting import provenance as provenance_of
from headwater.study import shared_labels
from headwater.study.archive import Dataset
from headwater.study.grid import Grid
from headwater.study.paths import Paths


class StudyResults:
    """The results of a study, read from its folder when they are first used."""

    def __init__(self, grid: Grid, *, results: Path):
        self.grid = grid
        self.paths = Paths(results)

    # comparisons

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """Every comparison in the config's order, with its correction, significance and provenance."""
        compared = self._of_datasets(pairwise.COMPARISONS)
        rows = multiplicity.corrected(compared, grid=self.grid, order=self.label_order, replicates=self.replicates)
        rows = ceilings.beside(rows, grid=self.grid, paths=self.paths)
        return provenance_of.of_comparisons(rows, self.provenance)

    @cached_property
    def test_values(self) -> pd.DataFrame:
        """Each source's mean over seeds with its interval, by dataset, metric, recipe and label."""
        rows = self.comparisons
        places = ["dataset", "metric", "recipe", "label"]
        sides = [
            rows[[*places, side, value, low, high]].set_axis([*places, "source", "value", "low", "high"], axis=1)
            for side, value, low, high in (
                ("source", "value", "value_low", "value_high"),
                ("reference", "reference_value", "reference_low", "reference_high"),
            )
        ]
        found = pd.concat(sides, ignore_index=True)
        return found[found["source"] != ""].drop_duplicates([*places, "source"], ignore_index=True)

    @cached_property
    def replicates(self) -> pd.DataFrame:
        """The macro's differences with patients and seeds resampled."""
        return self._of_datasets(pairwise.REPLICATES, "replicates")

    @cached_property
    def run_values(self) -> pd.DataFrame:
        """The metrics of each run."""
        return self._of_datasets(bootstrap.VALUES, "values")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """ROC curves."""
        return self._of_datasets(roc.CURVES, "curves")

    @cached_property
    def calibration(self) -> pd.DataFrame:
        """Calibration of scores."""
        return self._of_examined(calibration.CALIBRATION, "calibration")

    @cached_property
    def reliability(self) -> pd.DataFrame:
        """The points of reliability plots."""
        return self._of_examined(calibration.RELIABILITY, "reliability")

    @cached_property
    def thresholds(self) -> pd.DataFrame:
        """Operating points."""
        return self._of_examined(operating_points.THRESHOLDS, "thresholds")

    @cached_property
    def subgroups(self) -> pd.DataFrame:
        """The first metric in groups of patients."""
        return self._of_examined(subgroups_of.SUBGROUPS, "subgroups")

    @cached_property
    def crossed(self) -> pd.DataFrame:
        """External validation: networks on datasets that they were not fitted to but share a finding with."""
        datasets = [
            dataset.name for dataset in self.grid.datasets if shared_labels.guests(self.grid, dataset.name).others
        ]
        return self._of_datasets(external.CROSSED, "crossed", datasets=datasets)

    @cached_property
    def provenance(self) -> provenance_of.ProvenanceIndex:
        """The files of predictions behind every number; refuses those of runs with other settings than the config's."""
        tables = [(dataset.name, "provenance") for dataset in self.grid.datasets]
        tables += [(name, "examined") for name in self.grid.with_test_split]
        files = [Path(self.paths.compared(*table)) for table in tables]
        index = provenance_of.read(files)
        index.refuse_other_records(self.grid)
        return index

    # archives

    @cached_property
    def cases(self) -> dict[str, pd.DataFrame]:
        """The cases of every dataset's archive, without those that are dropped from training."""
        return {
            archive: dropping.left(_read(CASES, file, by="prepare"), self._dropped_of(archive), file=file)
            for archive, file in self.case_files.items()
        }

    def cases_of(self, archive: str) -> pd.DataFrame | None:
        """The cases of an archive; of one that is no dataset's as prepared, and none where their table is gone."""
        if archive in self.cases:
            return self.cases[archive]
        file = Path(self.paths.cases(archive))
        return CASES.read(file) if file.is_file() else None

    @property
    def case_files(self) -> dict[str, Path]:
        """The file of cases of every dataset's archive."""
        return {dataset.archive: Path(self.paths.cases(dataset.archive)) for dataset in self.grid.datasets}

    @cached_property
    def counts(self) -> dict[str, pd.DataFrame]:
        """The counts of cases and patients with each label in each split, for every dataset's archive."""
        archives = dict.fromkeys(dataset.archive for dataset in self.grid.datasets)
        if self.grid.leaks.resolve:
            return {name: every_count(self.cases[name]) for name in archives}
        return {name: _read(LABELS, Path(self.paths.labels(name)), by="prepare") for name in archives}

    def counts_of(self, dataset: Dataset) -> pd.DataFrame:
        """The counts of a dataset's labels in each split; of one in folds in the test split only, which holds all."""
        if dataset.splits is None:
            return self.counts[dataset.archive]
        cases = self.cases[dataset.archive]
        counts = every_count(cases.assign(split=cases["split"].where(~cases["split"].isin(SPLITS), "test")))
        return counts[counts["split"] == "test"]

    @cached_property
    def rejects(self) -> dict[str, pd.DataFrame]:
        """The unreadable images of every archive used for training or testing."""
        names = self.grid.archives_used
        return {name: _read(REJECTS, Path(self.paths.rejects(name)), by="prepare") for name in names}

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """The overlaps between splits."""
        return _read(LEDGER, Path(self.paths.ledger()), by="ledger")

    @cached_property
    def dropped(self) -> dict[str, pd.DataFrame]:
        """By archive, the cases that the ledger dropped from training; nothing in a study that resolves no leaks."""
        archives = [learned.archive for learned in self.grid.overlaps.archives] if self.grid.leaks.resolve else []
        return {archive: _read(dropping.DROPPED, self._dropped_of(archive), by="ledger") for archive in archives}

    def _dropped_of(self, archive: str) -> Path | None:
        return dropping.list_of(archive, grid=self.grid, results=self.paths.results)

    @cached_property
    def costs(self) -> pd.DataFrame:
        """The corpus, reduction and cost of every pre-training."""
        return reduction_results.costs(self.paths, grid=self.grid)

    @cached_property
    def label_order(self) -> dict[str, list[str]]:
        """For each dataset the macros, then its labels in the order of the config or else of the archive."""
        return {
            dataset.name: [
                MACRO,
                *(OF_SUBSET + name for name, of in self.grid.further_macros.items() if dataset.name in of),
                *(dataset.listed or self.counts[dataset.archive]["label"].unique()),
            ]
            for dataset in self.grid.datasets
        }

    @property
    def tables_compared(self) -> list[Path]:
        """The files of results that provenance.json records."""
        files = [Path(self.paths.compared(dataset.name)) for dataset in self.grid.datasets]
        examined = ["calibration", "thresholds", "subgroups"]
        files += [Path(self.paths.compared(name, table)) for table in examined for name in self.grid.with_test_split]
        if self.grid.comparing.external:
            files += [Path(self.paths.compared(name, "crossed")) for name in dict.fromkeys(self.crossed["dataset"])]
        return files

    def _of_datasets(self, table: Table, suffix: str = "", *, datasets: list[str] | None = None) -> pd.DataFrame:
        """One table over all datasets of the grid, or over some."""
        names = [dataset.name for dataset in self.grid.datasets] if datasets is None else datasets
        frames = [self._of_dataset(table, Path(self.paths.compared(name, suffix)), name) for name in names]
        return pd.concat(frames, ignore_index=True) if frames else table.frame([])

    def _of_examined(self, table: Table, suffix: str) -> pd.DataFrame:
        """One table over all datasets with a test split; those in folds are not examined."""
        return self._of_datasets(table, suffix, datasets=list(self.grid.with_test_split))

    def _of_dataset(self, table: Table, file: Path, dataset: str) -> pd.DataFrame:
        """One table of a dataset, which must be about this dataset."""
        frame = _read(table, file, by=_made_by(table))
        others = set(frame["dataset"]) - {dataset}
        if others:
            raise UserError(f"is about {sorted(others)[0]}, not {dataset}", file=file, remedy="delete it and rerun")
        return frame


def _made_by(table: Table) -> str:
    """The rule that makes a table of a dataset's results."""
    if table is external.CROSSED:
        return "cross"
    return "compare" if table.name in ("comparisons", "curves", "values", "replicates") else "examine"


def _read(table: Table, file: Path, *, by: str) -> pd.DataFrame:
    """A table that the rule `by` writes."""
    if not file.is_file():
        raise UserError(f"there is no table of {table.name}", file=file, remedy=f"run {by} first")
    return table.read(file)
