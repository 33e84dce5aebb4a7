"""Cross-validation: the metrics of all runs fold by fold, and differences between sources over the folds.

A case has one test prediction for each seed, by the network that did not learn from its patient. Scores of different
networks are never ranked together: a metric is computed on the cases of a fold, and averaged over folds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.data import index, splits, tables
from headwater.data.store import CASES
from headwater.evaluation import bootstrap, eligibility, predictions
from headwater.evaluation.bootstrap import Runs, Statistic
from headwater.evaluation.eligibility import Label
from headwater.evaluation.predictions import Predictions
from headwater.evaluation.statistics import folds
from headwater.evaluation.statistics.readers import Estimate
from headwater.study.comparison import Comparison
from headwater.study.folds import Fold


@dataclass(frozen=True, kw_only=True)
class OverFolds(Statistic):
    """One metric of a label or the macro for all runs of one recipe, by fold; there are no resamples of patients."""

    of_folds: np.ndarray
    """(runs, folds): on the cases of each fold."""
    patients: np.ndarray
    """(folds,): the patients that each fold tests."""
    fraction: float = 1.0
    """The share of the other folds' patients that the recipe learns from."""

    def of_source(self, at: slice) -> Estimate:
        """The mean over the folds of a source, whose runs stand at these places."""
        return self._cautious(folds.of_source(self.of_folds[at].T, patients=self.patients, fraction=self.fraction))

    def of_difference(self, at: slice, other: slice, *, paired: bool) -> Estimate:
        """The difference of two sources' means over the same folds; pairs of seeds play no part in it."""
        values, others = self.of_folds[at].T, self.of_folds[other].T
        return self._cautious(folds.of_difference(values, others, patients=self.patients, fraction=self.fraction))


@dataclass(frozen=True, kw_only=True)
class Tested:
    """The runs of all folds together."""

    runs: Runs
    """Each run on all cases, tested in their fold."""
    fold: np.ndarray
    """(cases,): the fold of each case."""
    files: list[tuple[str, Predictions]]
    """The dataset's name in a fold, and what a run says there, for each file."""


def read_all(comparison: Comparison, files: list[Path]) -> Tested:
    """The predictions of each declared run in each fold, put together; folds that share a patient are refused."""
    by_name: dict[str, list[Path]] = {}
    for file in files:
        by_name.setdefault(str(tables.read_column(file, "dataset").iloc[0]), []).append(file)
    names = [part.dataset for part in comparison.parts]
    for name in set(by_name) - set(names):
        raise UserError(f"is about {name}, no fold of {comparison.dataset}", file=by_name[name][0])
    of_folds = [predictions.read_all(part, by_name.get(part.dataset, [])) for part in comparison.parts]
    runs = {run: _together([of_fold[run] for of_fold in of_folds]) for run in of_folds[0]}
    sizes = [len(next(iter(of_fold.values())).cases) for of_fold in of_folds]
    first = next(iter(of_folds[0].values()))
    unsorted = np.concatenate([next(iter(of_fold.values())).cases for of_fold in of_folds])
    fold = np.repeat(np.arange(len(sizes)), sizes)[np.argsort(unsorted)]
    _refuse_shared(next(iter(runs.values())), fold, file=first.file)
    return Tested(
        runs=runs,
        fold=fold,
        files=[(name, run) for name, of_fold in zip(names, of_folds, strict=True) for run in of_fold.values()],
    )


def _together(parts: list[Predictions]) -> Predictions:
    """What a run says in all folds, cases in alphabetical order."""
    first = parts[0]
    for part in parts[1:]:
        if not np.array_equal(first.labels, part.labels):
            raise UserError(f"has other labels than {first.file}", file=part.file, remedy="predict both again")
    cases = np.concatenate([part.cases for part in parts])
    order = np.argsort(cases)
    return replace(
        first,
        cases=cases[order],
        patients=np.concatenate([part.patients for part in parts])[order],
        evidence={
            name: np.concatenate([part.evidence[name] for part in parts], axis=1)[:, order] for name in first.evidence
        },
    )


def _refuse_shared(run: Predictions, fold: np.ndarray, *, file: Path) -> None:
    """Refuse folds of which two test the same patient."""
    pairs = pd.DataFrame({"patient": run.patients, "fold": fold}).drop_duplicates()
    if (twice := pairs["patient"].duplicated()).any():
        patient = pairs.loc[twice, "patient"].iloc[0]
        raise UserError(f"patient {patient!r} is tested in two folds", file=file, remedy="predict all folds again")


def parts(tested: Tested, *, comparison: Comparison, cases: Path) -> list[Label]:
    """The eligibility of each label: by the patients of all folds, and by what each fold tests and can learn from."""
    first = next(iter(tested.runs.values()))
    lacking = untaught(CASES.read(cases), first.labels, comparison=comparison, file=cases)
    return eligibility.parts(first, comparison=comparison, untaught=lacking)


def untaught(cases: pd.DataFrame, labels: np.ndarray, *, comparison: Comparison, file: Path) -> dict[str, str]:
    """Why a label could not be learned in a fold, by the first such fold."""
    reasons: dict[str, str] = {}
    for number in range(comparison.splits.folds):
        counts = index.every_count(splits.in_fold(cases, Fold(folds=comparison.splits, number=number)))
        lacking = eligibility.untaught(counts, labels, comparison=comparison, file=file)
        reasons = {label: f"{why} of fold {number}" for label, why in lacking.items()} | reasons
    return reasons


def statistics(tested: Tested, labels: list[Label], *, comparison: Comparison) -> Iterator[OverFolds]:
    """For each metric and recipe the statistic of each label, then of the macro and of the macros of subsets."""
    first = next(iter(tested.runs.values()))
    inside = [np.flatnonzero(tested.fold == number) for number in range(comparison.splits.folds)]
    patients = np.array([len(set(first.patients[cases])) for cases in inside], float)
    places = set(bootstrap.measurements(labels, run=first, comparison=comparison))
    for metric in comparison.metrics:
        judged = eligibility.by_metric(metric, labels, run=first, comparison=comparison)
        judged = [_in_each(label, first.target[at], inside) for at, label in enumerate(judged)]
        for recipe in comparison.recipes:
            runs = bootstrap.of_recipe(tested.runs, recipe, comparison)
            of_labels = {
                label.name: _by_fold(runs, at, label, inside, metric=metric)
                for at, label in enumerate(judged)
                if (at, metric) in places and label.measured
            }
            for label, of_folds in _with_macros(judged, of_labels, run=first, metric=metric, comparison=comparison):
                statistic = _over_folds(label, of_folds, len(runs), patients, metric=metric, recipe=recipe)
                yield replace(statistic, fraction=comparison.fractions.get(recipe, 1.0))


def _in_each(label: Label, bears: np.ndarray, inside: list[np.ndarray]) -> Label:
    """The label, left out if a fold has no case of a class that its task or metric needs, so that nothing is measured.

    `bears` (cases,): which cases bear it. It follows from the targets alone, so that it is the same for all sources.
    """
    for number, cases in enumerate(inside):
        for kind in label.classes if label.measured else ():
            if not (bears[cases] == predictions.VALUE_OF[kind]).any():
                note = f"left out: no {kind} case in fold {number}"
                return replace(label, measured=False, tested=False, few=False, note=note)
    return label


def _by_fold(runs: list[Predictions], at: int, label: Label, inside: list[np.ndarray], *, metric: str) -> np.ndarray:
    """The metric of each run on the cases of each fold: (runs, folds)."""
    plugin = registry.load("metrics", metric)
    known = [np.intersect1d(cases, label.known) for cases in inside]

    def measured(run: Predictions, cases: np.ndarray) -> float:
        return plugin.measure(**run.of(plugin.EVIDENCE, at, cases), weights=np.ones((1, len(cases)), np.int64))[0]

    return np.array([[measured(run, cases) for cases in known] for run in runs])


def _with_macros(
    labels: list[Label],
    of_labels: dict[str, np.ndarray],
    *,
    run: Predictions,
    metric: str,
    comparison: Comparison,
) -> Iterator[tuple[Label, np.ndarray | None]]:
    """Each label that fits a metric with its values, then the macros with the means of theirs; None for no values."""
    fitting = [label for label in labels if label.name in comparison.fitting(metric, [label.name for label in labels])]
    yield from ((label, of_labels.get(label.name)) for label in fitting)
    means = {tables.MACRO: fitting}
    means |= eligibility.subsets(run, labels, comparison=comparison, fitting=fitting)
    for name, members in means.items():
        values = [of_labels[label.name] for label in members if label.tested]
        macro = eligibility.macro(run, labels, inside=members, name=name)
        yield macro, np.mean(values, axis=0) if values else None


def _over_folds(
    label: Label, of_folds: np.ndarray | None, runs: int, patients: np.ndarray, *, metric: str, recipe: str
) -> OverFolds:
    """The statistic of a label from its values in each fold; NaN for None."""
    of_folds = np.full((runs, len(patients)), np.nan) if of_folds is None else of_folds
    nothing = bootstrap.nothing(label, runs, metric=metric, recipe=recipe)
    held = {name: getattr(nothing, name) for name in ("label", "metric", "recipe", "replicates", "covariance")}
    return OverFolds(**held, observed=of_folds.mean(axis=1), of_folds=of_folds, patients=patients)
