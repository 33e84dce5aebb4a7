"""Examined: can the scores of trained networks be read as probabilities, and what do their alarms find and miss?

What has to be chosen, a temperature and thresholds, is settled on a network's own validation split; the test split says
only what comes of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binomtest

from headwater.core.errors import UserError
from headwater.data.tables import MACRO
from headwater.evaluation import eligibility as labels_of
from headwater.evaluation.bootstrap import Runs
from headwater.evaluation.eligibility import Label
from headwater.evaluation.metrics import brier
from headwater.evaluation.predictions import Predictions
from headwater.evaluation.statistics import means, operating, readers, recalibration, reliability, replication
from headwater.evaluation.statistics.means import Summed
from headwater.evaluation.statistics.readers import Estimate
from headwater.evaluation.statistics.replication import Column
from headwater.study.comparison import Comparison
from headwater.study.shared_labels import Exchange

RAW, SCALED = "raw", "scaled"
"""Scores as the network gives them, and divided by its temperature."""

COEFFICIENTS = ("intercept", "slope")
"""What a logistic recalibration tells."""

RATES = ("sensitivity", "specificity", "ppv", "npv")
"""What is told of an operating point."""

SHARE = (0.0, 1.0)
"""Where rates and the Brier score lie."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One trained network on one test set; at home both are of one dataset."""

    fitted_to: str
    test: Predictions
    validation: Predictions
    """Of the network's own validation split."""
    asked: tuple[str, ...]
    """For each label of the test set the label of the validation split that stands for it."""
    untaught: dict[str, str]
    """Why a label that is asked could not be learned, for those that could not."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What the validation split settles for one network."""

    temperature: float
    """NaN where the split lacks a class altogether."""
    thresholds: dict[str, float]
    """For each label that is asked; NaN where the split lacks a class of it."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """One quantity of all seeds of a source, and how it varies with the patients."""

    observed: np.ndarray
    """(seeds,)"""
    varies: np.ndarray
    """(seeds, resamples) or (seeds, patients): replicates, or the patients' influences."""
    drawn: bool
    """Whether `varies` are replicates."""

    def estimate(self, label: Label) -> Estimate:
        """The mean over seeds, with seeds as readers."""
        covariance = readers.covariance if self.drawn else recalibration.covariance
        spread = covariance(self.varies, patients=label.smaller_class)
        found = readers.of_source(self.observed, spread, patients=label.smaller_class)
        return found.cautious(label.most_degrees_of_freedom)


def at_home(tested: Runs, validated: Runs, *, dataset: str, untaught: dict[str, str]) -> list[Cell]:
    """The cells of networks that are tested on the dataset that they were fitted to."""
    return [
        Cell(
            fitted_to=dataset,
            test=test,
            validation=validated[run],
            asked=tuple(map(str, test.labels)),
            untaught=untaught,
        )
        for run, test in tested.items()
    ]


def of_guests(tested: Runs, validated: Runs, *, fitted_to: Exchange, untaught: dict[str, str]) -> list[Cell]:
    """The cells of networks that were fitted to another dataset, on whose validation split all is settled."""
    names = dict(fitted_to.labels)
    return [
        Cell(
            fitted_to=fitted_to.dataset,
            test=test,
            validation=validated[run],
            asked=tuple(names[label] for label in test.labels),
            untaught=untaught,
        )
        for run, test in tested.items()
    ]


def settled(cell: Cell, *, specificity: float) -> Settled:
    """A cell's temperature and thresholds; nothing of the test set is looked at but the names of its labels."""
    validation = cell.validation
    known = ~np.isnan(validation.target)
    thresholds = {}
    for label in cell.asked:
        at = _position(validation, label)
        target, score = validation.target[at, known[at]], validation.score[at, known[at]]
        thresholds[label] = operating.threshold(target, score, specificity=specificity)
    temperature = recalibration.temperature(validation.target[known], validation.score[known])
    return Settled(temperature=temperature, thresholds=thresholds)


def _position(validation: Predictions, label: str) -> int:
    found = np.flatnonzero(validation.labels == label)
    if not len(found):
        raise UserError(f"has no scores of {label!r}", file=validation.file, remedy="predict it again")
    return int(found[0])


def settled_rows(cell: Cell, *, comparison: Comparison) -> Iterator[dict]:
    """What was settled for a network, label by label, and on how much: rows of the table `settled`."""
    source, recipe, seed = cell.validation.run
    found = settled(cell, specificity=comparison.specificity)
    everything = cell.validation.target, cell.validation.score
    known = ~np.isnan(everything[0])
    target, score = (values[known] for values in everything)
    scaled = np.nan if np.isnan(found.temperature) else recalibration.log_loss(target, score / found.temperature)
    for label in cell.asked:
        at = _position(cell.validation, label)
        here = cell.validation.target[at]
        lacking = [kind for kind, value in (("positive", 1), ("negative", 0)) if not (here == value).any()]
        yield {
            "dataset": cell.fitted_to,
            "recipe": recipe,
            "source": source,
            "seed": seed,
            "label": label,
            "temperature": found.temperature,
            "log_loss": recalibration.log_loss(target, score),
            "log_loss_scaled": scaled,
            "known": int(known.sum()),
            "specificity": comparison.specificity,
            "threshold": found.thresholds[label],
            "cases": int((~np.isnan(here)).sum()),
            "positives": int((here == 1).sum()),
            "negatives": int((here == 0).sum()),
            "note": "; ".join(
                [f"no threshold: no {' and no '.join(lacking)} case in validation"] * bool(lacking)
                + _of_temperature(found.temperature)
            ),
        }


def _of_temperature(temperature: float) -> list[str]:
    """What has to be said of a temperature that is no lowest point of the loss."""
    if np.isnan(temperature):
        return ["no temperature: one class only in validation"]
    at_the_end = temperature in (recalibration.COLDEST, recalibration.HOTTEST)
    return [f"the temperature is at the end of what is looked for, {temperature:g}"] * at_the_end


# a source's seeds on one test set


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The cells of one source and recipe fitted to one dataset, one a seed, on one test set."""

    cells: tuple[Cell, ...]
    labels: tuple[Label, ...]
    patient: np.ndarray
    """(cases,): whose case each is."""
    patients: int
    comparison: Comparison
    threads: int

    @cached_property
    def settled(self) -> list[Settled]:
        """What each cell's validation split settles."""
        return [settled(cell, specificity=self.comparison.specificity) for cell in self.cells]

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Which scores there are; without a temperature none are scaled."""
        return (RAW,) if any(np.isnan(one.temperature) for one in self.settled) else (RAW, SCALED)

    @property
    def place(self) -> dict[str, object]:
        """The first columns of all rows."""
        source, recipe, _ = self.cells[0].test.run
        named = {"dataset": self.comparison.dataset, "fitted_to": self.cells[0].fitted_to}
        return {**named, "recipe": recipe, "source": source}

    def scores(self, at: int, kind: str) -> list[np.ndarray]:
        """Each cell's log-odds of the label at a position, where its target is known."""
        known = self.labels[at].known
        divisors = [one.temperature if kind == SCALED else 1.0 for one in self.settled]
        return [cell.test.score[at, known] / by for cell, by in zip(self.cells, divisors, strict=True)]

    def target(self, at: int) -> np.ndarray:
        """The known targets of the label at a position."""
        return self.cells[0].test.target[at, self.labels[at].known]

    def ratios(self, summed: Iterable[Sequence[Summed]]) -> list[Told]:
        """Ratios of sums over patients, a sequence with one for each seed: observed, and with patients drawn anew."""
        parts = [list(of_seeds) for of_seeds in summed]
        columns = [_column(one) for of_seeds in parts for one in of_seeds]
        asked = {"resamples": self.comparison.resamples, "seed": self.comparison.seed, "threads": self.threads}
        replicates = replication.replicates(columns, patients=self.patients, **asked)
        shape = len(parts), len(self.cells), self.comparison.resamples
        return [
            Told(observed=np.array([_ratio(one) for one in of_seeds]), varies=varies, drawn=True)
            for of_seeds, varies in zip(parts, replicates.reshape(shape), strict=True)
        ]


def trained(cells: Iterable[Cell], *, comparison: Comparison, threads: int) -> Iterator[Trained]:
    """Cells put together by what they were fitted to, recipe and source; seeds rise."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        source, recipe, _ = cell.test.run
        groups.setdefault((cell.fitted_to, recipe, source, *cell.asked), []).append(cell)
    for key in sorted(groups):
        chosen = sorted(groups[key], key=lambda cell: cell.test.run[2])
        test = chosen[0].test
        names, patient = np.unique(test.patients, return_inverse=True)
        asked = zip(map(str, test.labels), chosen[0].asked, strict=True)
        untaught = {label: chosen[0].untaught[name] for label, name in asked if name in chosen[0].untaught}
        parts = [labels_of.of(test, at, comparison=comparison, untaught=untaught) for at in range(len(test.labels))]
        yield Trained(
            cells=tuple(chosen),
            labels=tuple(parts),
            patient=patient,
            patients=len(names),
            comparison=comparison,
            threads=threads,
        )


def _ratio(one: Summed) -> float:
    below = one.cases.sum()
    return float(one.total.sum() / below) if below else np.nan


def _column(one: Summed) -> Column:
    def measure(counts: np.ndarray, room: int) -> np.ndarray:
        out = np.empty(counts.shape[1])
        means.mean(counts, one.total, one.cases, out)
        return out

    return Column(measure)


def _facts(label: Label, comparison: Comparison, seeds: int, *notes: str) -> dict[str, object]:
    """The last columns of all rows."""
    return {
        "patients": label.patients,
        "cases": len(label.known),
        "positives": label.positives,
        "positive_patients": label.positive_patients,
        "negative_patients": label.negative_patients,
        "seeds": seeds,
        "resamples": comparison.resamples,
        "tested": label.tested,
        "note": "; ".join(note for note in (label.note, *notes) if note),
    }


def _mean(parts: list[Told]) -> Told:
    """The mean over labels, patient by patient or replicate by replicate."""
    observed, varies = (np.mean([getattr(part, name) for part in parts], axis=0) for name in ("observed", "varies"))
    return Told(observed=observed, varies=varies, drawn=parts[0].drawn)


def _columns(name: str, found: Estimate, interval: tuple[float, float]) -> dict[str, float]:
    return {
        name: found.value,
        f"{name}_se": found.standard_error,
        f"{name}_low": interval[0],
        f"{name}_high": interval[1],
    }


# calibration


def calibration_rows(one: Trained) -> Iterator[dict]:
    """Intercept, slope, Brier score and expected over observed of each label and the macro: rows of `calibration`."""
    measured = [at for at, label in enumerate(one.labels) if label.measured]
    ratios = iter(one.ratios(_of_calibration(one, measured)))
    told = {
        (at, kind): {name: _coefficient(one, at, kind, name) for name in COEFFICIENTS}
        | {"brier": next(ratios), "ratio": _logarithm(next(ratios))}
        for at in measured
        for kind in one.kinds
    }
    tested = [at for at in measured if one.labels[at].tested]
    macro = labels_of.macro(one.cells[0].test, list(one.labels))
    for kind in (RAW, SCALED):
        parts = [told[at, kind] for at in tested if kind in one.kinds]
        whole = {name: _mean([part[name] for part in parts]) for name in parts[0]} if parts else {}
        yield _calibration_row(one, macro, MACRO, kind, whole)
        for at, label in enumerate(one.labels):
            yield _calibration_row(one, label, one.cells[0].asked[at], kind, told.get((at, kind), {}))


def _of_calibration(one: Trained, measured: list[int]) -> Iterator[list[Summed]]:
    """For each label and kind of scores the sums behind the Brier score, then those behind expected over observed."""
    for at in measured:
        target, patient = one.target(at), one.patient[one.labels[at].known]
        asked = {"patients": one.patients}
        observed = means.summed(target, patient, **asked).total
        for kind in one.kinds:
            chances = [expit(score) for score in one.scores(at, kind)]
            yield [means.summed(brier.per_case(target, chance), patient, **asked) for chance in chances]
            promised = [means.summed(chance, patient, **asked).total for chance in chances]
            yield [Summed(total=total, cases=observed) for total in promised]


def _coefficient(one: Trained, at: int, kind: str, name: str) -> Told:
    """One coefficient of the recalibration of a label, seed by seed."""
    fit = {"intercept": recalibration.in_the_large, "slope": recalibration.slope}[name]
    patient = one.patient[one.labels[at].known]
    found = [fit(one.target(at), score, patient, patients=one.patients) for score in one.scores(at, kind)]
    influences = np.array([part.influence for part in found])
    return Told(observed=np.array([part.value for part in found]), varies=influences, drawn=False)


def _logarithm(told: Told) -> Told:
    """A ratio on the scale on which twice as many and half as many are equally far from the truth."""
    with np.errstate(divide="ignore"):
        return replace(told, observed=np.log(told.observed), varies=np.log(told.varies))


def _calibration_row(one: Trained, label: Label, asked: str, kind: str, told: dict[str, Told]) -> dict:
    """One row from what is told of it; from nothing a row without numbers."""
    level, numbers = one.comparison.level, {}
    for name in (*COEFFICIENTS, "brier", "ratio"):
        found = told[name].estimate(label) if told else readers.UNKNOWN
        interval = found.interval_inside(level, bounds=SHARE) if name == "brier" else found.interval(level)
        columns = _columns(name, found, interval)
        if name == "ratio":
            value = np.exp(found.value)
            columns = {key: np.exp(number) for key, number in columns.items()}
            columns["ratio_se"] = value * found.standard_error
        numbers |= columns
    parted = bool(told) and np.isnan(numbers["slope"]) and not np.isnan(numbers["intercept"])
    said = "no slope: the scores of a run part the classes, or are all the same" if parted else ""
    said = said if kind in one.kinds else "no temperature: one class only in the validation of a run"
    place = one.place | {"label": label.name, "asked": asked, "scores": kind}
    return place | numbers | _facts(label, one.comparison, len(one.cells), said)


# reliability


def reliability_rows(one: Trained) -> Iterator[pd.DataFrame]:
    """The points of the reliability plots, of each label and of all tested labels together: tables of `reliability`."""
    measured = [at for at, label in enumerate(one.labels) if label.measured]
    tested = [at for at in measured if one.labels[at].tested]
    for name, asked, inside in [
        *([(MACRO, MACRO, tested)] if tested else []),
        *((one.labels[at].name, one.cells[0].asked[at], [at]) for at in measured),
    ]:
        for kind in one.kinds:
            chance = np.concatenate([expit(score) for at in inside for score in one.scores(at, kind)])
            times = len(one.cells)
            target = np.concatenate([np.tile(one.target(at), times) for at in inside])
            patient = np.concatenate([np.tile(one.patient[one.labels[at].known], times) for at in inside])
            points = reliability.points(target, chance, patient, level=one.comparison.level)
            named = one.place | {"label": name, "asked": asked, "scores": kind}
            yield points.assign(**named, bin=np.arange(len(points)))


# operating points


def threshold_rows(one: Trained) -> Iterator[dict]:
    """What the alarms of each label find and miss on the test split, and on the mean: rows of `thresholds`."""
    labels = [_with_threshold(one, at) for at in range(len(one.labels))]
    measured = [at for at, label in enumerate(labels) if label.measured]
    found = iter(one.ratios(summed for at in measured for summed in _of_alarms(one, at)))
    told = {at: {name: next(found) for name in RATES} for at in measured}
    tested = [told[at] for at in measured if labels[at].tested]
    macro = labels_of.macro(one.cells[0].test, labels)
    whole = {name: _mean([part[name] for part in tested]) for name in RATES} if tested else {}
    yield _threshold_row(one, macro, MACRO, np.full(len(one.cells), np.nan), whole)
    for at, label in enumerate(labels):
        asked = one.cells[0].asked[at]
        heights = np.array([of_cell.thresholds[asked] for of_cell in one.settled])
        yield _threshold_row(one, label, asked, heights, told.get(at, {}))


def _with_threshold(one: Trained, at: int) -> Label:
    """The label at a position, left out where a validation split had nothing to settle its threshold on."""
    label = one.labels[at]
    if not label.measured or not any(np.isnan(of_cell.thresholds[one.cells[0].asked[at]]) for of_cell in one.settled):
        return label
    return replace(label, measured=False, tested=False, note="left out: validation lacks a class")


def _of_alarms(one: Trained, at: int) -> Iterator[list[Summed]]:
    """The sums behind each rate of a label, seed by seed."""
    target, patient = one.target(at), one.patient[one.labels[at].known]
    asked = one.cells[0].asked[at]
    parts = [
        operating.told_apart(target, score, threshold=of_cell.thresholds[asked])
        for score, of_cell in zip(one.scores(at, RAW), one.settled, strict=True)
    ]
    for name in RATES:
        yield [means.summed(part[name], patient, patients=one.patients) for part in parts]


def _threshold_row(one: Trained, label: Label, asked: str, heights: np.ndarray, told: dict[str, Told]) -> dict:
    """One row from what is told of it; from nothing a row without numbers."""
    numbers = {"asked_specificity": one.comparison.specificity}
    numbers |= {"threshold": heights.mean(), "threshold_low": heights.min(), "threshold_high": heights.max()}
    for name in RATES:
        found = told[name].estimate(label) if told else readers.UNKNOWN
        numbers |= _columns(name, found, _inside(found, label, level=one.comparison.level))
    silent = [name.upper() for name in ("ppv", "npv") if told and np.isnan(numbers[name])]
    said = [f"no {name}: a run raises {'no alarm' if name == 'PPV' else 'alarms only'}" for name in silent]
    place = one.place | {"label": label.name, "asked": asked}
    return place | numbers | _facts(label, one.comparison, len(one.cells), *said)


def _inside(found: Estimate, label: Label, *, level: float) -> tuple[float, float]:
    """The interval of a rate; where nothing varies, what all patients alike still leave open (Clopper and Pearson)."""
    if found.constant and found.value in SHARE:
        many = label.smaller_class
        exact = binomtest(int(found.value) * many, many).proportion_ci(1 - level, method="exact")
        return float(exact.low), float(exact.high)
    return found.interval_inside(level, bounds=SHARE)
