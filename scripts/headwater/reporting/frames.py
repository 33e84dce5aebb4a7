"""A finished study's tables as frames of pandas, for notebooks: predictions, comparisons, metrics and the report's."""

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

import pandas as pd

from headwater.core.errors import UserError, did_you_mean
from headwater.data import tables
from headwater.data.tables import Table
from headwater.evaluation import bootstrap, pairwise, predictions
from headwater.reporting.trace_report import read_table
from headwater.study.paths import Paths


class Results:
    """The tables of a study below its results folder, each read when it is first used."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise UserError("there is no such results folder", file=self.folder, remedy="name the config's `results`")
        self._paths = Paths(self.folder)

    def __repr__(self) -> str:
        return f"headwater.results({str(self.folder)!r})"

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """What each network says of each test case: a row per dataset, source, recipe, seed, case and label."""
        return self._of_runs(self._paths.predictions)

    @cached_property
    def validation(self) -> pd.DataFrame:
        """The same of the validation cases."""
        return self._of_runs(self._paths.validation)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """Each source against its reference: difference, 95% confidence interval and p-value, before correction."""
        return self._compared("", pairwise.COMPARISONS)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The value of each metric for each run and label."""
        return self._compared("values", bootstrap.VALUES)

    @property
    def tables(self) -> list[str]:
        """The names of the report's tables."""
        return sorted(file.stem for file in Path(self._paths.report()).glob("*.csv"))

    def table(self, name: str) -> pd.DataFrame:
        """A table of the report, such as `significance`, with corrected p-values."""
        if name not in self.tables:
            remedy = did_you_mean(name, self.tables) if self.tables else "run snakemake to the end"
            raise UserError(f"the report has no table {name!r}", file=self._paths.report(), remedy=remedy)
        return read_table(Path(self._paths.table(name)))

    def _of_runs(self, path: Callable[[str], str]) -> pd.DataFrame:
        pattern = Path(path("*/*/*/*")).relative_to(self.folder)
        return self._together(sorted(self.folder.glob(str(pattern))), what="predictions", read=_predictions)

    def _compared(self, which: str, table: Table) -> pd.DataFrame:
        pattern = Path(self._paths.compared("*", which)).relative_to(self.folder)
        # a dataset's name has no dot, which comes before the name of a further table
        files = [file for file in sorted(self.folder.glob(str(pattern))) if which or "." not in file.stem]
        return self._together(files, what="comparisons", read=table.read)

    def _together(self, files: Iterable[Path], *, what: str, read: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
        frames = [read(file) for file in files]
        if not frames:
            raise UserError(f"holds no {what}", file=self.folder, remedy="run snakemake first")
        return pd.concat(frames, ignore_index=True)


def _predictions(file: Path) -> pd.DataFrame:
    """A file of predictions, with whichever columns of evidence its tasks give."""
    before = list(predictions.PREDICTIONS.columns)[: list(predictions.PREDICTIONS.columns).index("target")]
    evidence = [name for name in tables.column_names(file) if name not in before]
    return predictions.with_evidence(predictions.PREDICTIONS, evidence).read(file)
