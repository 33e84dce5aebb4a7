"""Choices on the validation split: each network's temperature and thresholds, set before its test split is used."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.core.errors import UserError
from headwater.data.index import LABELS
from headwater.data.tables import NUMBER, TEXT, WHOLE, Table
from headwater.evaluation import eligibility, external, predictions
from headwater.evaluation.bootstrap import Runs
from headwater.evaluation.predictions import Predictions
from headwater.evaluation.statistics import operating, recalibration
from headwater.study.comparison import Comparison
from headwater.study.shared_labels import Exchange, Exchanges
from headwater.study.target import UNNAMED

SETTLED = Table(
    name="settled",
    columns={
        "dataset": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "seed": WHOLE,
        "label": TEXT,
        # one for all labels of a head, which makes the log loss of their known targets least
        "temperature": NUMBER,
        "log_loss": NUMBER,
        "log_loss_scaled": NUMBER,
        "known": WHOLE,
        # the lowest threshold with at least this specificity
        "specificity": NUMBER,
        "threshold": NUMBER,
        "cases": WHOLE,
        "positives": WHOLE,
        "negatives": WHOLE,
        "note": TEXT,
    },
    keys=("recipe", "source", "seed", "label"),
)
"""The choices on the validation split of each run, per label."""


@dataclass(frozen=True, kw_only=True)
class TestedNetwork:
    """One trained network on one test set: that of the dataset that it was fitted to, or another's."""

    fitted_to: str
    test: Predictions
    validation: Predictions
    """Predictions on the network's own validation split."""
    asked: tuple[str, ...]
    """For each label of the test set the corresponding label of the validation split."""
    untaught: dict[str, str]
    """Why a label that is asked could not be learned, for those that could not."""
    holders: dict[str, str]
    """Of each label of the validation split the target whose head scores it; nothing where there is one head only."""

    def beside(self, label: str) -> np.ndarray:
        """Which labels of the validation split one head scores together with this one, itself among them."""
        holders = [self.holders.get(name, UNNAMED) for name in self.validation.labels]
        return np.array(holders, dtype=object) == self.holders.get(label, UNNAMED)

    def known(self, label: str) -> tuple[np.ndarray, np.ndarray]:
        """(targets, scores) of all validation cases and labels of a label's head whose target is known."""
        inside = self.beside(label)
        target, score = self.validation.target[inside], self.validation.score[inside]
        known = ~np.isnan(target)
        return target[known], score[known]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the validation split decides for one network."""

    temperatures: dict[str, float]
    """For each label that is asked that of its head; NaN where the split lacks a class of all the head's labels."""
    thresholds: dict[str, float]
    """By label; NaN if the validation split lacks a class of it."""


def at_home(tested: Runs, validated: Runs, *, comparison: Comparison, untaught: dict[str, str]) -> list[TestedNetwork]:
    """The networks that are tested on the dataset that they were fitted to, with the labels that have log-odds."""
    networks = []
    for run, whole in tested.items():
        labels = comparison.calibrated(whole.labels)
        test, validation = (predictions.narrowed(part, labels) for part in (whole, validated[run]))
        networks.append(
            TestedNetwork(
                fitted_to=comparison.dataset,
                test=test,
                validation=validation,
                asked=tuple(map(str, test.labels)),
                untaught=untaught,
                holders=comparison.holders,
            )
        )
    return networks


def of_guests(
    tested: Runs, validated: Runs, *, fitted_to: Exchange, comparison: Comparison, untaught: dict[str, str]
) -> list[TestedNetwork]:
    """The networks fitted to another dataset, whose choices are made on that dataset's validation split."""
    names = dict(fitted_to.labels)
    labels = comparison.calibrated(names)
    tested = {run: predictions.narrowed(test, labels) for run, test in tested.items()}
    there = external.there(comparison, fitted_to)
    return [
        TestedNetwork(
            fitted_to=fitted_to.dataset,
            test=test,
            validation=validated[run],
            asked=tuple(names[label] for label in test.labels),
            untaught=untaught,
            holders=there.holders,
        )
        for run, test in tested.items()
    ]


def read_guests(
    home: Predictions,
    *,
    tested: list[Path],
    validated: list[Path],
    counts: list[Path],
    fitted_to: Exchanges,
    comparison: Comparison,
) -> Iterator[TestedNetwork]:
    """The networks fitted to other datasets, on the cases of `home`; `counts` are in the order of `fitted_to`."""
    plain = external.without_controls(comparison)
    tested_by, validated_by = (external.by_dataset(files, fitted_to) for files in (tested, validated))
    for other, labels in zip(fitted_to.others, counts, strict=True):
        there = external.there(plain, other)
        on_validation = predictions.read_all(there, validated_by[other.dataset], split="validation")
        on_validation = {
            run: predictions.narrowed(part, there.calibrated(part.labels)) for run, part in on_validation.items()
        }
        on_test = predictions.read_elsewhere(plain, tested_by[other.dataset], fitted_to=other, home=home)
        asked = [name for _, name in other.labels]
        untaught = eligibility.untaught(LABELS.read(labels), asked, comparison=there, file=labels)
        yield from of_guests(on_test, on_validation, fitted_to=other, comparison=plain, untaught=untaught)


def choose(network: TestedNetwork, *, specificity: float) -> Choices:
    """A network's temperatures and thresholds; of the test set only the names of its labels are used."""
    validation = network.validation
    known = ~np.isnan(validation.target)
    temperatures, thresholds = {}, {}
    of_head: dict[str, float] = {}
    for label in network.asked:
        at = _position(validation, label)
        target, score = validation.target[at, known[at]], validation.score[at, known[at]]
        thresholds[label] = operating.threshold(target, score, specificity=specificity)
        head = network.holders.get(label, UNNAMED)
        if head not in of_head:
            of_head[head] = recalibration.temperature(*network.known(label))
        temperatures[label] = of_head[head]
    return Choices(temperatures=temperatures, thresholds=thresholds)


def _position(validation: Predictions, label: str) -> int:
    positions = np.flatnonzero(validation.labels == label)
    if not len(positions):
        raise UserError(f"has no scores of {label!r}", file=validation.file, remedy="run predict again")
    return int(positions[0])


def rows(networks: Iterable[TestedNetwork], *, comparison: Comparison) -> Iterator[dict]:
    """The choices of each network per label, with the counts behind them: rows of `SETTLED`."""
    for network in networks:
        if network.asked:
            yield from _rows(network, comparison=comparison)


def _rows(network: TestedNetwork, *, comparison: Comparison) -> Iterator[dict]:
    source, recipe, seed = network.validation.run
    chosen = choose(network, specificity=comparison.specificity)
    for label in network.asked:
        temperature = chosen.temperatures[label]
        target, score = network.known(label)
        scaled = np.nan if np.isnan(temperature) else recalibration.log_loss(target, score / temperature)
        of_label = network.validation.target[_position(network.validation, label)]
        lacking = [kind for kind, value in (("positive", 1), ("negative", 0)) if not (of_label == value).any()]
        yield {
            "dataset": network.fitted_to,
            "recipe": recipe,
            "source": source,
            "seed": seed,
            "label": label,
            "temperature": temperature,
            "log_loss": recalibration.log_loss(target, score),
            "log_loss_scaled": scaled,
            "known": len(target),
            "specificity": comparison.specificity,
            "threshold": chosen.thresholds[label],
            "cases": int((~np.isnan(of_label)).sum()),
            "positives": int((of_label == 1).sum()),
            "negatives": int((of_label == 0).sum()),
            "note": "; ".join(
                [f"no threshold: no {' and no '.join(lacking)} case in validation"] * bool(lacking)
                + _note_on_temperature(temperature)
            ),
        }


def _note_on_temperature(temperature: float) -> list[str]:
    """The note on a temperature that is missing or at a bound of the search."""
    if np.isnan(temperature):
        return ["no temperature: one class only in validation"]
    at_the_end = temperature in (recalibration.COLDEST, recalibration.HOTTEST)
    return [f"the temperature is at the end of what is looked for, {temperature:g}"] * at_the_end
