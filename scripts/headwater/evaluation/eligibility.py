"""Eligibility: which labels are measured and tested, decided from the targets alone, before any score is seen."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError, did_you_mean
from headwater.data.tables import MACRO, OF_SUBSET
from headwater.evaluation.predictions import Predictions
from headwater.study.comparison import FEW_POSITIVE, Comparison


@dataclass(frozen=True, kw_only=True)
class Label:
    """One label's role in the comparison, and the counts that decide it."""

    name: str
    known: np.ndarray
    """Positions of the cases whose target is known."""
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
    """Which patients its task needs, positive or negative ones: nearly always both."""

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


def of(run: Predictions, position: int, *, comparison: Comparison, untaught: dict[str, str]) -> Label:
    """The eligibility of a label, by the numbers of patients with and without it."""
    name = str(run.labels[position])
    target, patients = run.target[position], run.patients
    # a patient with positive and negative cases is in both sets
    with_finding, without = set(patients[target == 1]), set(patients[target == 0])
    many, classes = {"positive": len(with_finding), "negative": len(without)}, comparison.classes_of(name)
    missing = next((kind for kind in classes if not many[kind]), "")
    fewer, kind = min((many[kind], kind) for kind in classes)
    out = f"no {missing} case in test" if missing else untaught.get(name, "")
    tested = fewer >= comparison.fewest_positive and not out
    few = tested and fewer < FEW_POSITIVE
    described = f"described only: {_many(fewer, kind)} in test, fewer than {comparison.fewest_positive}"
    cautious = f"few patients: {_many(fewer, kind)} in test, t with {fewer - 1} degrees of freedom at most"
    return Label(
        name=name,
        known=np.flatnonzero(~np.isnan(target)),
        patients=len(with_finding | without),
        positives=int((target == 1).sum()),
        positive_patients=len(with_finding),
        negative_patients=len(without),
        measured=not out,
        tested=tested,
        few=few,
        note=f"left out: {out}" if out else cautious if few else "" if tested else described,
        classes=classes,
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
    known = np.flatnonzero(~np.isnan(target).all(axis=0)) if inside else np.array([], dtype=np.int64)
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
