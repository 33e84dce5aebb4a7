"""Subgroups: performance by sex, age, projection and site of the test patients.

Each group is compared with all others. The difference between the best and the worst group would be biased: as the
largest of several random differences, it is above zero even for a network that performs equally well for everyone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.data.tables import FLAG, MACRO, NUMBER, TEXT, WHOLE, Table
from headwater.evaluation import bootstrap, eligibility, predictions
from headwater.evaluation.bootstrap import Runs
from headwater.evaluation.eligibility import Label
from headwater.evaluation.predictions import Predictions
from headwater.evaluation.seed_groups import estimated
from headwater.evaluation.statistics import readers, replication
from headwater.evaluation.statistics.readers import Estimate
from headwater.study.comparison import Comparison

UNKNOWN_GROUP = "not told"
"""The group of cases whose characteristic the archive does not record."""

CHARACTERISTICS = ("sex", "age", "view", "site")
"""The characteristics by which test cases are grouped."""

AGE_BANDS = ((0, "<40"), (40, "40-59"), (60, "60-79"), (80, "80+"))
"""(first year of age, name) of each band."""

SUBGROUPS = Table(
    name="subgroups",
    columns={
        "dataset": TEXT,
        "metric": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "label": TEXT,
        "characteristic": TEXT,
        "group": TEXT,
        **estimated("value"),
        "rest": NUMBER,
        **estimated("difference"),
        # whether it is the group of its characteristic with the largest difference
        "largest": FLAG,
        "patients": WHOLE,
        "cases": WHOLE,
        "positives": WHOLE,
        "positive_patients": WHOLE,
        "negative_patients": WHOLE,
        "seeds": WHOLE,
        "resamples": WHOLE,
        "note": TEXT,
    },
    keys=("recipe", "source", "label", "characteristic", "group"),
)
"""The first metric in groups of the test patients, each compared with all others."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """A subset of the test cases, and the eligibility of each label in it."""

    inside: np.ndarray
    """(cases,): whether a case is in the subset."""
    labels: tuple[Label, ...]
    cases: int
    patients: int


@dataclass(frozen=True, kw_only=True)
class Group:
    """One group of a characteristic, and the cases of all other groups."""

    characteristic: str
    name: str
    side: Side
    rest: Side

    def measured(self, at: int) -> bool:
        """Whether the label at a position is measured in this group; the unknown group is only counted."""
        return self.name != UNKNOWN_GROUP and self.side.labels[at].tested

    def compared(self, at: int) -> bool:
        """Whether it is measured in this group and in the rest."""
        return self.measured(at) and self.rest.labels[at].tested


def of_cases(cases: pd.DataFrame, names: np.ndarray, *, file: object) -> pd.DataFrame:
    """The groups of these cases by each characteristic, from a table of cases: (cases, characteristics)."""
    described = cases.set_index("case")
    absent = sorted(set(names) - set(described.index))
    if absent:
        raise UserError(f"has no case {absent[0]!r}, which is predicted", file=file, remedy="run predict again")
    described = described.loc[names]
    starts, bands = zip(*AGE_BANDS, strict=True)
    band = pd.cut(described["age"], [*starts, np.inf], right=False, labels=list(bands)).astype(object)
    grouped = described[list(CHARACTERISTICS)].assign(age=band.fillna(UNKNOWN_GROUP)).astype(str)
    return grouped.replace("", UNKNOWN_GROUP).reset_index(drop=True)


def groups(
    run: Predictions, grouped: pd.DataFrame, *, comparison: Comparison, untaught: dict[str, str]
) -> Iterator[Group]:
    """The groups of all characteristics in their order."""
    sides: dict[bytes, Side] = {}

    def side(inside: np.ndarray) -> Side:
        # of a characteristic with two groups, each is the rest of the other and need not be computed twice
        key = inside.tobytes()
        if key not in sides:
            sides[key] = _side(run, inside, comparison=comparison, untaught=untaught)
        return sides[key]

    for characteristic in CHARACTERISTICS:
        values = grouped[characteristic].to_numpy()
        recorded = values != UNKNOWN_GROUP
        for name in sorted(set(values), key=lambda name: place(characteristic, name)):
            inside = values == name
            rest = side(recorded & ~inside)
            yield Group(characteristic=characteristic, name=name, side=side(inside), rest=rest)


def place(characteristic: str, name: str) -> tuple[int, bool, int, str]:
    """The sort key of a group: age bands in ascending order, the unknown group last."""
    bands = [band for _, band in AGE_BANDS]
    rank = bands.index(name) if characteristic == "age" and name in bands else 0
    return CHARACTERISTICS.index(characteristic), name == UNKNOWN_GROUP, rank, name


def _side(run: Predictions, inside: np.ndarray, *, comparison: Comparison, untaught: dict[str, str]) -> Side:
    """A subset of the cases with the eligibility of each label in it."""
    part = _part(run, inside)
    how = {"comparison": comparison, "untaught": untaught, "metric": comparison.metrics[0]}
    labels = [eligibility.of(part, position, **how) for position in range(len(run.labels))]
    return Side(inside=inside, labels=tuple(labels), cases=int(inside.sum()), patients=len(set(part.patients)))


def _part(run: Predictions, inside: np.ndarray) -> Predictions:
    return predictions.of_cases(run, inside)


# numbers


@dataclass(frozen=True, kw_only=True)
class _Number:
    """Values of a source's runs in a subset of the cases: (runs,), and with patients resampled (runs, resamples)."""

    observed: np.ndarray
    replicates: np.ndarray

    def minus(self, other: "_Number") -> "_Number":
        return _Number(observed=self.observed - other.observed, replicates=self.replicates - other.replicates)

    def estimate(self, *labels: Label) -> Estimate:
        """The mean over seeds, with seeds as readers; the smallest class of all `labels` limits the certainty."""
        fewest = min(label.smaller_class for label in labels)
        spread = readers.covariance(self.replicates, patients=fewest)
        mean = readers.of_source(self.observed, spread, patients=fewest)
        return mean.cautious(min(label.most_degrees_of_freedom for label in labels))


def _mean(numbers: list[_Number]) -> _Number:
    observed, replicates = (
        np.mean([getattr(number, name) for number in numbers], axis=0) for name in ("observed", "replicates")
    )
    return _Number(observed=observed, replicates=replicates)


_Numbers = dict[tuple[bytes, int], _Number]
"""By the subset of cases (bytes of `Side.inside`) and the position of the label."""


def of_study(
    runs: Runs, cases: pd.DataFrame, *, comparison: Comparison, untaught: dict[str, str], threads: int, file: object
) -> Iterator[dict]:
    """All rows of `SUBGROUPS`, from a table of cases with sex, age, projection and site; `file` is its path."""
    fitting = comparison.fitting(comparison.metrics[0], next(iter(runs.values())).labels)
    runs = {run: predictions.narrowed(predicted, fitting) for run, predicted in runs.items()}
    first = next(iter(runs.values()))
    by_case = of_cases(cases, first.cases, file=file)
    all_groups = list(groups(first, by_case, comparison=comparison, untaught=untaught))
    return rows(runs, all_groups, comparison=comparison, threads=threads)


def rows(runs: Runs, all_groups: list[Group], *, comparison: Comparison, threads: int) -> Iterator[dict]:
    """Each recipe, source, label and group by the study's first metric: rows of `subgroups`."""
    for recipe in comparison.recipes:
        recipe_runs = bootstrap.of_recipe(runs, recipe, comparison)
        for number, source in enumerate(comparison.sources):
            seeds = len(comparison.seeds)
            chosen = recipe_runs[number * seeds : (number + 1) * seeds]
            numbers = _numbers(chosen, all_groups, comparison=comparison, threads=threads)
            first = {"dataset": comparison.dataset, "metric": comparison.metrics[0], "recipe": recipe, "source": source}
            source_rows = [
                first | row
                for group in all_groups
                for row in _of_group(group, numbers, chosen[0], comparison=comparison)
            ]
            yield from _with_largest(source_rows)


def _numbers(runs: list[Predictions], all_groups: list[Group], *, comparison: Comparison, threads: int) -> _Numbers:
    """Each measured label in each group and in its rest: all runs of a source, on the same resamples of patients."""
    metric = registry.load("metrics", comparison.metrics[0])
    names, patient = np.unique(runs[0].patients, return_inverse=True)
    needed: dict[tuple[bytes, int], tuple[np.ndarray, int]] = {}
    for group in all_groups:
        for at in range(len(runs[0].labels)):
            for side in [group.side] * group.measured(at) + [group.rest] * group.compared(at):
                needed[side.inside.tobytes(), at] = side.inside & ~np.isnan(runs[0].target[at]), at
    evidence = [(run.of(metric.EVIDENCE, at, cases), patient[cases]) for cases, at in needed.values() for run in runs]
    observed = [metric.measure(**values, weights=np.ones((1, len(owner)), np.int64))[0] for values, owner in evidence]
    replicates = replication.replicates(
        [replication.column(metric, values, owner, patients=len(names)) for values, owner in evidence],
        patients=len(names),
        resamples=comparison.resamples,
        seed=comparison.seed,
        threads=threads,
    )
    shape = (len(needed), len(runs))
    parts = zip(np.reshape(observed, shape), replicates.reshape(*shape, comparison.resamples), strict=True)
    return {key: _Number(observed=part, replicates=drawn) for key, (part, drawn) in zip(needed, parts, strict=True)}


def _of_group(group: Group, numbers: _Numbers, run: Predictions, *, comparison: Comparison) -> Iterator[dict]:
    """The macro of one group, then each of its labels."""
    positions = range(len(run.labels))
    # the macro averages the labels that have a difference, so that its value and its difference are of the same labels
    compared = [at for at in positions if group.compared(at)]
    inside = compared or [at for at in positions if group.measured(at)]
    here, there = group.side.inside.tobytes(), group.rest.inside.tobytes()
    counted = inside or list(positions)
    parts = [
        eligibility.macro(_part(run, side.inside), _only(side.labels, counted)) for side in (group.side, group.rest)
    ]
    value = _mean([numbers[here, at] for at in inside]) if inside else None
    others = _mean([numbers[there, at] for at in compared]) if compared else None
    many = f"mean of {len(inside)} of {len(positions)} labels" if inside else "no label has enough patients"
    many = "counted only" if group.name == UNKNOWN_GROUP else many
    yield _row(group, MACRO, parts, value, others, comparison=comparison, note=many)
    for at in positions:
        both = [group.side.labels[at], group.rest.labels[at]]
        value = numbers[here, at] if group.measured(at) else None
        others = numbers[there, at] if group.compared(at) else None
        note = _too_few(group, at, comparison=comparison)
        yield _row(group, str(run.labels[at]), both, value, others, comparison=comparison, note=note)


def _only(labels: tuple[Label, ...], inside: list[int]) -> list[Label]:
    return [replace(label, tested=at in inside) for at, label in enumerate(labels)]


def _too_few(group: Group, at: int, *, comparison: Comparison) -> str:
    """The note on a label that is not measured in a group or in its rest."""
    if group.name == UNKNOWN_GROUP or group.compared(at):
        return ""
    label, who = (group.rest.labels[at], " among the others") if group.measured(at) else (group.side.labels[at], "")
    if label.smaller_class >= comparison.fewest_positive:
        return label.note
    patients = f"{label.smaller_kind} patient{'' if label.smaller_class == 1 else 's'}"
    return f"described only: {label.smaller_class} {patients}{who}, fewer than {comparison.fewest_positive}"


def _row(
    group: Group,
    name: str,
    labels: list[Label],
    value: _Number | None,
    others: _Number | None,
    *,
    comparison: Comparison,
    note: str,
) -> dict:
    """One row of counts and, if the label is measured, of values."""
    bounds = registry.load("metrics", comparison.metrics[0]).RANGE
    estimate = value.estimate(labels[0]) if value else readers.UNKNOWN
    difference = value.minus(others).estimate(*labels) if value and others else readers.UNKNOWN
    low, high = estimate.interval_inside(comparison.level, bounds=bounds)
    least, most = difference.interval_of_difference(comparison.level, bounds=bounds)
    label = labels[0]
    whole = name == MACRO
    return {
        "label": name,
        "characteristic": group.characteristic,
        "group": group.name,
        "value": estimate.value,
        "value_se": estimate.standard_error,
        "value_low": low,
        "value_high": high,
        "rest": float(others.observed.mean()) if others else np.nan,
        "difference": difference.value,
        "difference_se": difference.standard_error,
        "difference_low": least,
        "difference_high": most,
        "patients": group.side.patients if whole else label.patients,
        "cases": group.side.cases if whole else len(label.known),
        "positives": label.positives,
        "positive_patients": label.positive_patients,
        "negative_patients": label.negative_patients,
        "seeds": len(comparison.seeds),
        "resamples": comparison.resamples,
        "note": note,
    }


def _with_largest(group_rows: list[dict]) -> Iterator[dict]:
    """The rows, with the one of the largest difference marked for each label and characteristic."""
    largest: dict[tuple[str, str], dict] = {}
    for row in group_rows:
        key = row["label"], row["characteristic"]
        previous = largest.get(key)
        # two groups that are each other's rest have opposite differences; the lower one is marked
        if not np.isnan(row["difference"]) and (previous is None or _distance(row) > _distance(previous)):
            largest[key] = row
    marked = {id(row) for row in largest.values()}
    yield from (row | {"largest": id(row) in marked} for row in group_rows)


def _distance(row: dict) -> tuple[float, float]:
    """The sort key of differences: absolute value, then the lower one."""
    return abs(row["difference"]), -row["difference"]
