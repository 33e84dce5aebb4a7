"""Predictions: what all runs say of the same test cases, read together and refused where they disagree."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.data.tables import MACRO, NUMBER, TEXT, WHOLE, Table, column_names, read_origin
from headwater.study import target as targets
from headwater.study.comparison import Comparison
from headwater.study.shared_labels import Exchange

PREDICTIONS = Table(
    name="predictions",
    columns={
        "dataset": TEXT,
        "source": TEXT,
        "recipe": TEXT,
        "seed": WHOLE,
        "case": TEXT,
        "patient": TEXT,
        "label": TEXT,
        "target": NUMBER,
        "score": NUMBER,
    },
    keys=("case", "label"),
)
"""What a network says of the cases of a split: one row per case and label.

Its last columns are evidence, here that of a classification: see `with_evidence`.
"""

PART = "part"
"""The entry of a file of predictions that names the split that they are of."""

ELSEWHERE = Table(
    name="elsewhere",
    columns={
        "dataset": TEXT,
        "source": TEXT,
        "recipe": TEXT,
        "seed": WHOLE,
        "tested_on": TEXT,
        "case": TEXT,
        "patient": TEXT,
        "label": TEXT,
        "asked": TEXT,
        "target": NUMBER,
        "score": NUMBER,
    },
    keys=("tested_on", "case", "label"),
)
"""What a network says of the test cases of other datasets: one row per dataset, case and finding.

`label` is the finding's name there, `asked` its name where the network was fitted.
"""


def with_evidence(table: Table, names: Iterable[str]) -> Table:
    """A table of predictions with other columns of evidence: those that the tasks of a dataset give."""
    first = list(table.columns).index("target")
    named = dict(list(table.columns.items())[:first])
    return replace(table, columns=named | dict.fromkeys(names, NUMBER))


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one run says of each test case; cases and labels in alphabetical order."""

    file: Path
    run: tuple[str, str, int]
    """Source, recipe, seed."""
    cases: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    evidence: dict[str, np.ndarray]
    """Each column that a task gives, (labels, cases); NaN for labels whose task does not give it."""

    @property
    def target(self) -> np.ndarray:
        """Which cases bear which label, (labels, cases): 1, 0, or NaN where unknown."""
        return self.evidence["target"]

    @property
    def score(self) -> np.ndarray:
        """How much the network believes in each label, (labels, cases)."""
        return self.evidence["score"]

    def of(self, names: Sequence[str], at: int, cases: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of those names for the label at a position, of some cases."""
        return {name: self.evidence[name][at, cases] for name in names}


def read_all(
    comparison: Comparison, files: list[Path], *, split: str = "test"
) -> dict[tuple[str, str, int], Predictions]:
    """The predictions of each declared run for a split, in alphabetical order, all about the same cases."""
    return _all(comparison, files, partial(_read, comparison=comparison, split=split))


def read_elsewhere(
    comparison: Comparison, files: list[Path], *, fitted_to: Exchange, home: Predictions
) -> dict[tuple[str, str, int], Predictions]:
    """What the declared runs, fitted to another dataset, say of the cases of `home`, for the labels that both have."""
    read = partial(_read_elsewhere, comparison=comparison, fitted_to=fitted_to)
    return _all(comparison, files, read, first=narrowed(home, [label for label, _ in fitted_to.labels]))


def narrowed(run: Predictions, labels: Iterable[str]) -> Predictions:
    """The same of some labels only."""
    at = np.isin(run.labels, list(labels))
    return replace(run, labels=run.labels[at], evidence={name: held[at] for name, held in run.evidence.items()})


def of_cases(run: Predictions, inside: np.ndarray) -> Predictions:
    """The same of some cases only."""
    evidence = {name: held[:, inside] for name, held in run.evidence.items()}
    return replace(run, cases=run.cases[inside], patients=run.patients[inside], evidence=evidence)


def _all(
    comparison: Comparison, files: list[Path], read_one: Callable[[Path], Predictions], first: Predictions | None = None
) -> dict[tuple[str, str, int], Predictions]:
    """Each declared run once, all about the cases of the first."""
    declared = {
        (source, recipe, seed)
        for source in comparison.sources
        for recipe in comparison.recipes
        for seed in comparison.seeds
    }
    runs: dict[tuple[str, str, int], Predictions] = {}
    for file in sorted(files):
        read = read_one(file)
        if read.run not in declared:
            raise UserError(
                f"run {_spelt(read.run)} is not declared", file=file, remedy="leave it out or add it to the config"
            )
        if read.run in runs:
            raise UserError(
                f"run {_spelt(read.run)} is also in {runs[read.run].file}", file=file, remedy="give each run once"
            )
        if first is None:
            first = read
        else:
            _agree(first, read)
            # what all runs share is held once
            evidence = read.evidence | {"target": first.target}
            read = replace(read, cases=first.cases, patients=first.patients, labels=first.labels, evidence=evidence)
        runs[read.run] = read
    for run in sorted(declared - set(runs)):
        raise UserError(f"{comparison.dataset}: no predictions of run {_spelt(run)}", remedy="predict it first")
    return dict(sorted(runs.items()))


def _spelt(run: tuple[str, str, int]) -> str:
    source, recipe, seed = run
    return f"{source}/{recipe}/seed{seed}"


def _read(file: Path, *, comparison: Comparison, split: str) -> Predictions:
    """One run's predictions for a split as arrays; files of earlier versions do not say which split they are of."""
    dataset = comparison.dataset
    frame = _holding(PREDICTIONS, file, names=comparison.evidence).read(file)
    if (part := read_origin(file).get(PART, split)) != split:
        raise UserError(f"is of the {part} split, not of {split}", file=file, remedy=f"give the {split} predictions")
    _of_one_run(frame, file)
    if frame["dataset"][0] != dataset:
        raise UserError(
            f"is about {frame['dataset'][0]}, not {dataset}", file=file, remedy="give this dataset's runs only"
        )
    _refuse_other_labels(frame, file, comparison=comparison)
    return _as_arrays(frame, file, names=comparison.evidence, comparison=comparison)


def _refuse_other_labels(frame: pd.DataFrame, file: Path, *, comparison: Comparison) -> None:
    """Refuse predictions of other labels than the targets that the config declares; without targets all are taken."""
    declared = {label for target in comparison.targets.values() for label in target.labels}
    if declared and (different := declared ^ set(frame["label"])):
        label = sorted(different)[0]
        what = f"lacks the label {label!r}" if label in declared else f"has a label {label!r}"
        raise UserError(
            f"{what}, unlike the targets of dataset {comparison.dataset}", file=file, remedy="run predict again"
        )


def _holding(table: Table, file: Path, *, names: Sequence[str]) -> Table:
    """The table with the evidence of those names, and with what else any task gives and the file holds."""
    given = set(targets.evidence(registry.names("tasks")))
    return with_evidence(table, dict.fromkeys([*names, *(name for name in column_names(file) if name in given)]))


def _read_elsewhere(file: Path, *, comparison: Comparison, fitted_to: Exchange) -> Predictions:
    """What one run says of the test cases of another dataset."""
    # both datasets tell what they share by the same tasks, and either may have more of them
    names = targets.evidence(comparison.task_of(label) for label, _ in fitted_to.labels)
    frame = _holding(ELSEWHERE, file, names=names).read(file, where=("tested_on", comparison.dataset))
    _of_one_run(frame, file)
    asked = set(frame[["label", "asked"]].drop_duplicates().itertuples(index=False, name=None))
    if frame["dataset"][0] != fitted_to.dataset or asked != set(fitted_to.labels):
        raise UserError(
            f"is not what networks fitted to {fitted_to.dataset} are asked of {comparison.dataset}",
            file=file,
            remedy="run transport again",
        )
    return _as_arrays(frame, file, names=names, comparison=comparison)


def _of_one_run(frame: pd.DataFrame, file: Path) -> None:
    """Refuse a table of several runs, or of none."""
    for column in ("dataset", "source", "recipe", "seed"):
        values = frame[column].unique()
        if len(values) != 1:
            raise UserError(f"holds {len(values)} values of {column}, not one", file=file, remedy="predict it again")


def _as_arrays(frame: pd.DataFrame, file: Path, *, names: Sequence[str], comparison: Comparison) -> Predictions:
    """A run's table as arrays; refuses one with holes, or with evidence that is none by its task."""
    at_case, cases = pd.factorize(frame["case"], sort=True)
    at_label, labels = pd.factorize(frame["label"], sort=True)
    if len(frame) != len(cases) * len(labels):
        seen = np.bincount(at_case, minlength=len(cases))
        raise UserError(
            f"case {cases[seen.argmin()]!r} has {seen.min()} of {len(labels)} labels",
            file=file,
            remedy="predict it again",
        )
    evidence = {name: np.empty((len(labels), len(cases))) for name in names}
    for name, held in evidence.items():
        held[at_label, at_case] = frame[name]
    _usable(frame, file, comparison=comparison)
    run = (str(frame["source"][0]), str(frame["recipe"][0]), int(frame["seed"][0]))
    return Predictions(
        file=file,
        run=run,
        cases=np.asarray(cases, dtype=object),
        patients=_patients(frame, at_case, file),
        labels=np.asarray(labels, dtype=object),
        evidence=evidence,
    )


def _patients(frame: pd.DataFrame, at_case: np.ndarray, file: Path) -> np.ndarray:
    """The patient of each case, in the order of the cases."""
    at_patient, names = pd.factorize(frame["patient"], sort=True)
    patient = np.empty(at_case.max() + 1, dtype=np.int64)
    patient[at_case] = at_patient
    if (patient[at_case] != at_patient).any():
        case = frame["case"][np.flatnonzero(patient[at_case] != at_patient)[0]]
        raise UserError(f"case {case!r} belongs to two patients", file=file, remedy="predict it again")
    return np.asarray(names, dtype=object)[patient]


def _usable(frame: pd.DataFrame, file: Path, *, comparison: Comparison) -> None:
    """Refuse evidence that is not what the task of its label promises, and a label that is called like a mean."""
    task = frame["label"].map({label: comparison.task_of(label) for label in frame["label"].unique()})
    for name, rows in frame.groupby(task, sort=True):
        for column, kind in registry.constant("tasks", name, "KINDS", default={}).items():
            REFUSALS[kind](rows, column, file)
    for metric in comparison.metrics:
        _refuse_holes(frame, metric, file, comparison=comparison)
    if (frame["label"] == MACRO).any():
        raise UserError(
            f"a label is called {MACRO!r}, as the mean over labels is", file=file, remedy="rename the label"
        )


VALUE_OF = {"positive": 1, "negative": 0}
"""The target of each class of cases."""


def _refuse_holes(frame: pd.DataFrame, metric: str, file: Path, *, comparison: Comparison) -> None:
    """Refuse evidence that a metric lacks on any of the cases that it is about: sources must share their cases."""
    about = [VALUE_OF[kind] for kind in targets.measured_on(metric)]
    fitting = comparison.fitting(metric, frame["label"].unique())
    rows = frame[frame["label"].isin(fitting) & frame["target"].isin(about)]
    for column in targets.needed(metric) if len(rows) else ():
        lacking = rows[~np.isfinite(rows[column])]
        if len(lacking):
            row = lacking.iloc[0]
            raise UserError(
                f"{metric} needs {column} of every case that it is about, but {len(lacking)} have none, such as case "
                f"{row['case']!r}, {row['label']}",
                file=file,
                remedy="predict again",
            )


def _refuse_infinite(rows: pd.DataFrame, column: str, file: Path) -> None:
    """Refuse what is no finite number."""
    unusable = ~np.isfinite(rows[column])
    if unusable.any():
        row = rows[unusable].iloc[0]
        raise UserError(
            f"{unusable.sum()} {column}s are not finite, such as {row[column]} for case {row['case']!r}, "
            f"{row['label']}",
            file=file,
            remedy="the training diverged: lower its learning rate",
        )


def _refuse_other_than_binary(rows: pd.DataFrame, column: str, file: Path) -> None:
    """Refuse what is neither 0, 1 nor unknown."""
    strange = ~rows[column].isin([0, 1]) & rows[column].notna()
    if strange.any():
        row = rows[strange].iloc[0]
        raise UserError(f"{column} {row[column]} of case {row['case']!r} is neither 0, 1 nor unknown", file=file)


REFUSALS = {"finite": _refuse_infinite, "binary": _refuse_other_than_binary}
"""What a task may promise of a column of its evidence, and what refuses the rest."""


def _agree(one: Predictions, other: Predictions) -> None:
    """Refuse two runs that are not about the same cases."""

    def refuse(what: str) -> None:
        raise UserError(f"differs from {one.file}: {what}", file=other.file, remedy="predict both again")

    for noun, here, there in (("case", one.cases, other.cases), ("label", one.labels, other.labels)):
        if not np.array_equal(here, there):
            alone = sorted(set(here) ^ set(there))[0]
            refuse(f"{noun} {alone!r} is only in {one.file if alone in here else other.file}")
    if not np.array_equal(one.patients, other.patients):
        at = np.flatnonzero(one.patients != other.patients)[0]
        refuse(f"patient of case {one.cases[at]!r} is {one.patients[at]!r} there and {other.patients[at]!r} here")
    if not np.array_equal(one.target, other.target, equal_nan=True):
        unlike = (one.target != other.target) & ~(np.isnan(one.target) & np.isnan(other.target))
        label, at = np.argwhere(unlike)[0]
        there, here = one.target[label, at], other.target[label, at]
        refuse(f"{one.labels[label]} of case {one.cases[at]!r} is {there} there and {here} here")
