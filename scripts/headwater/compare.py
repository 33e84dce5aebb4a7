"""Compare: how far sources differ on one dataset, and how sure one can be, from all runs' predictions at once.

One matrix of patient counts serves all sources, seeds, labels and metrics: every comparison is paired.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from headwater import plugins
from headwater.formats import MACRO, read_table, write_table
from headwater.grid import Comparison
from headwater.progress import bar
from headwater.refusals import Refusal
from headwater.statistics import curves as curves_of
from headwater.statistics import intervals, resampling, significance

ELEMENTS = 2_000_000
"""Weights held at once: replicates times cases."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one run says of each test case; cases and labels in alphabetical order."""

    file: Path
    run: tuple[str, str, int]
    """Source, recipe, seed."""
    cases: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    target: np.ndarray  # (labels, cases): 1, 0, or NaN where unknown
    score: np.ndarray  # (labels, cases)


@dataclass(frozen=True, kw_only=True)
class Label:
    """One label's part in the comparison, decided from the targets alone."""

    name: str
    known: np.ndarray  # positions of the cases whose target is known
    patients: int
    positives: int
    positive_patients: int
    measured: bool
    tested: bool
    note: str


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A label or the macro, measured for all runs."""

    label: Label
    observed: np.ndarray  # (runs,)
    replicates: np.ndarray  # (runs, resamples)


def compare(*, comparison: Comparison, predictions: list[Path], labels: Path, comparisons: Path, curves: Path) -> None:
    """Write the table of differences between sources, with intervals and p-values, and the runs' ROC curves.

    `labels` counts who bears which label in each split: what no network could learn is not compared.
    """
    runs = _all_runs(comparison, predictions)
    first = next(iter(runs.values()))
    untaught = _untaught(read_table(labels, "labels"), first.labels, file=labels)
    parts = [_label(first, position, comparison, untaught) for position in range(len(first.labels))]
    rows = []
    for metric in comparison.metrics:
        for recipe in comparison.recipes:
            chosen = [runs[source, recipe, seed] for source in comparison.sources for seed in sorted(comparison.seeds)]
            for statistic in _statistics(chosen, parts, metric=metric, comparison=comparison):
                rows += _rows(statistic, recipe=recipe, metric=metric, comparison=comparison)
    order = ["metric", "recipe", "label", "source", "reference"]
    write_table(pd.DataFrame(rows).sort_values(order, ignore_index=True), comparisons, "comparisons")
    write_table(_curves(runs, parts, dataset=comparison.dataset), curves, "curves")


# reading and agreeing


def _all_runs(comparison: Comparison, files: list[Path]) -> dict[tuple[str, str, int], Predictions]:
    """The predictions of each declared run, in alphabetical order, all about the same cases."""
    declared = {
        (source, recipe, seed)
        for source in comparison.sources
        for recipe in comparison.recipes
        for seed in comparison.seeds
    }
    runs: dict[tuple[str, str, int], Predictions] = {}
    for file in sorted(files):
        read = _read(file, dataset=comparison.dataset)
        if read.run not in declared:
            raise Refusal(
                f"run {_spelt(read.run)} is not declared", file=file, remedy="leave it out or add it to the config"
            )
        if read.run in runs:
            raise Refusal(
                f"run {_spelt(read.run)} is also in {runs[read.run].file}", file=file, remedy="give each run once"
            )
        runs[read.run] = read
        _agree(next(iter(runs.values())), read)
    for run in sorted(declared - set(runs)):
        raise Refusal(f"{comparison.dataset}: no predictions of run {_spelt(run)}", remedy="predict it first")
    return dict(sorted(runs.items()))


def _spelt(run: tuple[str, str, int]) -> str:
    source, recipe, seed = run
    return f"{source}/{recipe}/seed{seed}"


def _read(file: Path, *, dataset: str) -> Predictions:
    """One run's predictions as arrays."""
    frame = read_table(file, "predictions")
    for column in ("dataset", "source", "recipe", "seed"):
        values = frame[column].unique()
        if len(values) != 1:
            raise Refusal(f"holds {len(values)} values of {column}, not one", file=file, remedy="predict it again")
    if frame["dataset"][0] != dataset:
        raise Refusal(
            f"is about {frame['dataset'][0]}, not {dataset}", file=file, remedy="give this dataset's runs only"
        )
    at_case, cases = pd.factorize(frame["case"], sort=True)
    at_label, labels = pd.factorize(frame["label"], sort=True)
    if len(frame) != len(cases) * len(labels):
        seen = np.bincount(at_case, minlength=len(cases))
        raise Refusal(
            f"case {cases[seen.argmin()]!r} has {seen.min()} of {len(labels)} labels",
            file=file,
            remedy="predict it again",
        )
    target, score = np.empty((2, len(labels), len(cases)))
    target[at_label, at_case], score[at_label, at_case] = frame["target"], frame["score"]
    _usable(frame, file)
    run = (str(frame["source"][0]), str(frame["recipe"][0]), int(frame["seed"][0]))
    return Predictions(
        file=file,
        run=run,
        cases=np.asarray(cases, dtype=object),
        patients=_patients(frame, at_case, file),
        labels=np.asarray(labels, dtype=object),
        target=target,
        score=score,
    )


def _patients(frame: pd.DataFrame, at_case: np.ndarray, file: Path) -> np.ndarray:
    """The patient of each case, in the order of the cases."""
    at_patient, names = pd.factorize(frame["patient"], sort=True)
    patient = np.empty(at_case.max() + 1, dtype=np.int64)
    patient[at_case] = at_patient
    if (patient[at_case] != at_patient).any():
        case = frame["case"][np.flatnonzero(patient[at_case] != at_patient)[0]]
        raise Refusal(f"case {case!r} belongs to two patients", file=file, remedy="predict it again")
    return np.asarray(names, dtype=object)[patient]


def _usable(frame: pd.DataFrame, file: Path) -> None:
    """Refuse scores that are no number and targets that are neither 0, 1 nor unknown."""
    unusable = ~np.isfinite(frame["score"])
    if unusable.any():
        row = frame[unusable].iloc[0]
        raise Refusal(
            f"{unusable.sum()} scores are not finite, such as {row['score']} for case {row['case']!r}, {row['label']}",
            file=file,
            remedy="the training diverged: lower its learning rate",
        )
    strange = ~frame["target"].isin([0, 1]) & frame["target"].notna()
    if strange.any():
        row = frame[strange].iloc[0]
        raise Refusal(f"target {row['target']} of case {row['case']!r} is neither 0, 1 nor unknown", file=file)
    if (frame["label"] == MACRO).any():
        raise Refusal(f"a label is called {MACRO!r}, as the mean over labels is", file=file, remedy="rename the label")


def _agree(one: Predictions, other: Predictions) -> None:
    """Refuse two runs that are not about the same cases."""

    def refuse(what: str) -> None:
        raise Refusal(f"differs from {one.file}: {what}", file=other.file, remedy="predict both again")

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


# labels: in or out, decided in advance


def _untaught(counts: pd.DataFrame, labels: np.ndarray, *, file: Path) -> dict[str, str]:
    """Why a label could not be learned, for those without positive or without negative cases in train."""
    train = counts[counts["split"] == "train"].set_index("label")
    reasons = {}
    for label in map(str, labels):
        if label not in train.index:
            raise Refusal(f"counts no label {label!r}", file=file, remedy="run prepare again")
        absent = [kind for kind in ("positive", "negative") if train.loc[label, f"{kind}s"] == 0]
        if absent:
            reasons[label] = f"no {' and no '.join(absent)} case in train"
    return reasons


def _label(run: Predictions, position: int, comparison: Comparison, untaught: dict[str, str]) -> Label:
    """What part a label takes, by how many patients bear it and how many do not."""
    name = str(run.labels[position])
    target, patients = run.target[position], run.patients
    with_finding, without = set(patients[target == 1]), set(patients[target == 0])
    missing = "positive" if not with_finding else "negative" if not without else ""
    fewer, kind = min((len(with_finding), "positive"), (len(without), "negative"))
    out = f"no {missing} case in test" if missing else untaught.get(name, "")
    tested = fewer >= comparison.fewest_positive and not out
    described = f"described only: {_many(fewer, kind)} in test, fewer than {comparison.fewest_positive}"
    return Label(
        name=name,
        known=np.flatnonzero(~np.isnan(target)),
        patients=len(with_finding | without),
        positives=int((target == 1).sum()),
        positive_patients=len(with_finding),
        measured=not out,
        tested=tested,
        note=f"left out: {out}" if out else "" if tested else described,
    )


def _many(count: int, kind: str) -> str:
    return f"{count} {kind} patient{'' if count == 1 else 's'}"


def _macro_label(run: Predictions, labels: list[Label]) -> Label:
    """The mean over the tested labels as a label of its own; its positives bear at least one of them."""
    inside = [label for label in labels if label.tested]
    outside = [f"{label.name} ({label.note.partition(': ')[2]})" for label in labels if not label.tested]
    target = run.target[[label.tested for label in labels]]
    known = np.flatnonzero(~np.isnan(target).all(axis=0)) if inside else np.array([], dtype=np.int64)
    bearing = np.flatnonzero((target == 1).any(axis=0)) if inside else known
    mean = (
        f"mean of {len(inside)} label{'' if len(inside) == 1 else 's'}"
        if inside
        else "left out: no label can be tested"
    )
    return Label(
        name=MACRO,
        known=known,
        patients=len(set(run.patients[known])),
        positives=len(bearing),
        positive_patients=len(set(run.patients[bearing])),
        measured=bool(inside),
        tested=bool(inside),
        note="; ".join([mean, *(["without " + ", ".join(outside)] if outside else [])]),
    )


# measuring


def _statistics(
    runs: list[Predictions], labels: list[Label], *, metric: str, comparison: Comparison
) -> Iterator[Statistic]:
    """Each label, then the macro: observed and in each replicate, for all runs."""
    measured = [label for label in labels if label.measured]
    as_they_are = np.ones((1, len(runs[0].cases)), dtype=np.int64)
    observed = _measured(runs, labels, metric=metric, weights=as_they_are)[:, :, 0]
    replicates = np.full((len(measured), len(runs), comparison.resamples), np.nan)
    for where, weights in _weights(runs[0], comparison, what=f"{comparison.dataset}: {metric}"):
        replicates[:, :, where] = _measured(runs, labels, metric=metric, weights=weights)
    for label in labels:
        if label.measured:
            at = measured.index(label)
            yield Statistic(label=label, observed=observed[at], replicates=replicates[at])
        else:
            nothing = np.full(len(runs), np.nan)
            yield Statistic(label=label, observed=nothing, replicates=np.empty((len(runs), 0)))
    tested = [at for at, label in enumerate(measured) if label.tested]
    macro = _macro_label(runs[0], labels)
    if not tested:
        yield Statistic(label=macro, observed=np.full(len(runs), np.nan), replicates=np.empty((len(runs), 0)))
        return
    # a replicate that lacks one label has no macro: a mean over other labels would be another quantity
    yield Statistic(label=macro, observed=observed[tested].mean(axis=0), replicates=replicates[tested].mean(axis=0))


def _weights(run: Predictions, comparison: Comparison, *, what: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Which replicates, and how often each case counts in them (replicates, cases), block by block."""
    names, patient = np.unique(run.patients, return_inverse=True)
    step = max(1, ELEMENTS // len(run.cases) // resampling.BLOCK) * resampling.BLOCK
    starts = range(0, comparison.resamples, step)
    for first in bar(starts, total=len(starts), what=what):
        many = min(step, comparison.resamples - first)
        counts = resampling.patient_counts(len(names), resamples=many, seed=comparison.seed, first=first)
        yield slice(first, first + many), counts.take(patient, axis=1)


def _measured(runs: list[Predictions], labels: list[Label], *, metric: str, weights: np.ndarray) -> np.ndarray:
    """The metric of each label that has one, for each run and replicate: (labels, runs, replicates)."""
    measure = plugins.load("metrics", metric).measure
    values = []
    for position, label in enumerate(labels):
        if not label.measured:
            continue
        known = label.known
        inside = weights if len(known) == weights.shape[1] else weights.take(known, axis=1)
        values.append([measure(run.target[position, known], run.score[position, known], inside) for run in runs])
    return np.array(values).reshape(-1, len(runs), len(weights))


# from replicates to rows


def _rows(statistic: Statistic, *, recipe: str, metric: str, comparison: Comparison) -> Iterator[dict]:
    """One row per declared pair; a source that no pair names first has a row without a reference."""
    pairs = comparison.pairs
    alone = [source for source in comparison.sources if source not in {source for source, _ in pairs}]
    label = statistic.label
    facts = {
        "dataset": comparison.dataset,
        "metric": metric,
        "recipe": recipe,
        "label": label.name,
        "patients": label.patients,
        "cases": len(label.known),
        "positives": label.positives,
        "positive_patients": label.positive_patients,
        "seeds": len(comparison.seeds),
        "resamples": comparison.resamples,
    }
    for source, reference in [*pairs, *((source, "") for source in alone)]:
        yield facts | _pair(statistic, source, reference, metric=metric, comparison=comparison)


def _pair(statistic: Statistic, source: str, reference: str, *, metric: str, comparison: Comparison) -> dict:
    """Values, intervals and p of one source against one reference, or of a source alone."""
    label, level = statistic.label, comparison.level
    bounds = plugins.load("metrics", metric).RANGE
    value, replicates = _of_source(statistic, source, comparison)
    low, high = intervals.percentile(replicates.clip(*bounds), level=level)
    row = {"source": source, "reference": reference, "value": value, "value_low": low, "value_high": high}
    other, other_replicates = _of_source(statistic, reference, comparison) if reference else (np.nan, np.array([]))
    low, high = intervals.percentile(other_replicates.clip(*bounds), level=level)
    row |= {"reference_value": other, "reference_low": low, "reference_high": high}
    differences = replicates - other_replicates if reference else np.array([])
    low, high = intervals.percentile(differences, level=level)
    row |= {"difference": value - other, "difference_low": low, "difference_high": high}
    tested = bool(reference) and label.tested
    row["p"] = significance.two_sided(differences, observed=value - other) if tested else np.nan
    row["dropped"] = int(np.isnan(differences if reference else replicates).sum())
    notes = [label.note, _seed_note(comparison) if label.measured else ""]
    return row | {"tested": tested, "note": "; ".join(note for note in notes if note)}


def _seed_note(comparison: Comparison) -> str:
    return "one seed: training noise is not in the interval" if len(comparison.seeds) == 1 else ""


def _of_source(statistic: Statistic, source: str, comparison: Comparison) -> tuple[float, np.ndarray]:
    """A source's value, the mean over its seeds, and its replicates with patients and seeds resampled."""
    seeds = len(comparison.seeds)
    first = comparison.sources.index(source) * seeds
    values = statistic.replicates[first : first + seeds].T
    counts = resampling.seed_counts(seeds, resamples=len(values), seed=comparison.seed, source=source)
    return float(statistic.observed[first : first + seeds].mean()), resampling.over_seeds(values, counts)


def _curves(runs: dict[tuple[str, str, int], Predictions], labels: list[Label], *, dataset: str) -> pd.DataFrame:
    """The ROC curve of each run and label that has one."""
    parts = []
    for (source, recipe, seed), run in runs.items():
        for position, label in enumerate(labels):
            if label.measured:
                target, score = run.target[position, label.known], run.score[position, label.known]
                false, true = curves_of.roc(target, score)
                named = {"dataset": dataset, "recipe": recipe, "source": source, "seed": seed, "label": label.name}
                parts.append(pd.DataFrame({**named, "false_positive_rate": false, "true_positive_rate": true}))
    columns = ["dataset", "recipe", "source", "seed", "label", "false_positive_rate", "true_positive_rate"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
