"""Eligibility: which labels are measured and tested, decided from the targets alone, before any score is seen."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError, did_you_mean
from headwater.data.tables import MACRO, OF_SUBSET
from headwater.evaluation.predictions import Predictions
from headwater.study import target as target_of
from headwater.study.comparison import FEW_POSITIVE, Comparison


@dataclass(frozen=True, kw_only=True)
class Label:
    """One label's role in the comparison, and the counts that decide it."""

    name: str
    known: np.ndarray
    """Positions of the cases that are measured: all whose target is known, or those that the metric is about."""
    patients: int
    positives: int
    positive_patients: int
    negative_patients: int
    measured: bool
    """Whether the metric is computed: both classes are in the test split and in the training split."""
    tested: bool
    """Whether it is in its family of tests and in the macro."""
    few: bool
    """Whether so few patients have it, or do not, that it is tested with caution."""
    note: str
    classes: tuple[str, ...]
    """Which patients its task or metric needs, positive or negative ones: nearly always both."""
    untaught: str = ""
    """Why no network could learn it; "" for all others."""

    @property
    def smaller_class(self) -> int:
        """How many patients bear it, or do not, whichever are fewer of those that its task needs."""
        return min(self.many(kind) for kind in self.classes)

    @property
    def smaller_kind(self) -> str:
        """Which of the patients that its task needs are fewer."""
        return min(self.classes, key=self.many)

    def many(self, kind: str) -> int:
        """How many patients are "positive" or "negative"."""
        return {"positive": self.positive_patients, "negative": self.negative_patients}[kind]

    @property
    def most_degrees_of_freedom(self) -> float:
        """The limit of degrees of freedom: with few patients one less than the smaller class, else infinite."""
        return self.smaller_class - 1 if self.few else np.inf


def untaught(counts: pd.DataFrame, labels: Iterable[str], *, comparison: Comparison, file: Path) -> dict[str, str]:
    """Why a label could not be learned, for those without the positive or negative cases in train that it needs."""
    train = counts[counts["split"] == "train"].set_index("label")
    reasons = {}
    for label in map(str, labels):
        if label not in train.index:
            raise UserError(f"has no label {label!r}", file=file, remedy="run prepare again")
        absent = [kind for kind in comparison.classes_of(label) if train.loc[label, f"{kind}s"] == 0]
        if absent:
            reasons[label] = f"no {' and no '.join(absent)} case in train"
    return reasons


def parts(run: Predictions, *, comparison: Comparison, untaught: dict[str, str]) -> list[Label]:
    """The eligibility of each label of a run, in their order."""
    return [of(run, position, comparison=comparison, untaught=untaught) for position in range(len(run.labels))]


def by_metric(metric: str, labels: list[Label], *, run: Predictions, comparison: Comparison) -> list[Label]:
    """The labels of a run as a metric measures them: as they are, unless it is about one class of cases only."""
    if not target_of.measured_on(metric):
        return labels
    untaught = {label.name: label.untaught for label in labels if label.untaught}
    how = {"comparison": comparison, "untaught": untaught, "metric": metric}
    return [of(run, position, **how) for position in range(len(run.labels))]


def of(run: Predictions, position: int, *, comparison: Comparison, untaught: dict[str, str], metric: str = "") -> Label:
    """The eligibility of a label, by the numbers of patients with and without it; for any metric, or for one.

    It follows from the targets alone, so that all sources are measured on the same cases.
    """
    name = str(run.labels[position])
    target, patients = run.target[position], run.patients
    bears = {"positive": target == 1, "negative": target == 0}
    about = target_of.measured_on(metric) if metric else ()
    classes = about or comparison.classes_of(name)
    known = np.flatnonzero(np.any([bears[kind] for kind in about or bears], axis=0))
    # a patient with positive and negative cases is in both sets
    many = {kind: len(set(patients[inside])) for kind, inside in bears.items()}
    missing = next((kind for kind in classes if not many[kind]), "")
    fewer, kind = min((many[kind], kind) for kind in classes)
    # patients of all folds are tested, each in its own
    where, nowhere = ("all folds", "any fold") if comparison.splits else ("test", "test")
    out = f"no {missing} case in {nowhere}" if missing else untaught.get(name, "")
    tested = fewer >= comparison.fewest_positive and not out
    few = tested and fewer < FEW_POSITIVE
    described = f"described only: {_many(fewer, kind)} in {where}, fewer than {comparison.fewest_positive}"
    # t over folds has fewer degrees of freedom than that, as each fold has a patient of either class
    at_most = "" if comparison.splits else f", t with {fewer - 1} degrees of freedom at most"
    cautious = f"few patients: {_many(fewer, kind)} in {where}{at_most}"
    return Label(
        name=name,
        known=known,
        patients=len(set(patients[known])),
        positives=int(bears["positive"].sum()),
        positive_patients=many["positive"],
        negative_patients=many["negative"],
        measured=not out,
        tested=tested,
        few=few,
        note=f"left out: {out}" if out else cautious if few else "" if tested else described,
        classes=classes,
        untaught=untaught.get(name, ""),
    )


def _many(count: int, kind: str) -> str:
    return f"{count} {kind} patient{'' if count == 1 else 's'}"


def subsets(
    run: Predictions, labels: list[Label], *, comparison: Comparison, fitting: list[Label]
) -> dict[str, list[Label]]:
    """The labels of each declared subset, by the name of its macro; none that would only repeat the macro.

    `fitting`: those of the labels that have a number by the metric at hand.
    """
    tested = {label.name for label in fitting if label.tested}
    by_macro = {}
    for name in comparison.subsets:
        chosen = comparison.subset(name)
        for label in sorted(set(chosen) - {label.name for label in labels}):
            raise UserError(
                f"has no label {label!r}, which comparison.subsets.{name} names",
                file=run.file,
                remedy=did_you_mean(label, [label.name for label in labels]),
            )
        # a subset with all tested labels would repeat the macro, and one with none has no value
        if set() < tested & set(chosen) < tested:
            by_macro[OF_SUBSET + name] = [label for label in fitting if label.name in chosen]
    return by_macro


def macro(run: Predictions, labels: list[Label], *, inside: list[Label] | None = None, name: str = MACRO) -> Label:
    """The macro: the mean over the tested labels of `inside`, by default of all.

    Its positive cases are those with at least one of these labels.
    """
    inside = labels if inside is None else inside
    outside = [f"{label.name} ({label.note.partition(': ')[2]})" for label in inside if not label.tested]
    inside = [label for label in inside if label.tested]
    names = {label.name for label in inside}
    target = run.target[[label.name in names for label in labels]]
    known = np.unique(np.concatenate([label.known for label in inside])) if inside else np.array([], dtype=np.int64)
    positive = np.flatnonzero((target == 1).any(axis=0)) if inside else known
    mean = (
        f"mean of {len(inside)} label{'' if len(inside) == 1 else 's'}"
        if inside
        else "left out: no label can be tested"
    )
    return Label(
        name=name,
        known=known,
        patients=len(set(run.patients[known])),
        positives=len(positive),
        positive_patients=len(set(run.patients[positive])),
        negative_patients=len(set(run.patients[(target == 0).any(axis=0)])) if inside else 0,
        measured=bool(inside),
        tested=bool(inside),
        few=False,
        note="; ".join([mean, *(["without " + ", ".join(outside)] if outside else [])]),
        # patients of either class vary the mean where they vary one of its labels
        classes=tuple(dict.fromkeys(kind for label in inside or labels for kind in label.classes)),
    )
