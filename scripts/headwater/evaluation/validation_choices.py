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

SETTLED = Table(
    name="settled",
    columns={
        "dataset": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "seed": WHOLE,
        "label": TEXT,
        # one for all labels, which minimises the log loss of the known targets
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
    """The reason why a label could not be learned, for labels that could not."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the validation split decides for one network."""

    temperature: float
    """NaN if the validation split has only one class."""
    thresholds: dict[str, float]
    """By label; NaN if the validation split lacks a class of it."""


def at_home(tested: Runs, validated: Runs, *, dataset: str, untaught: dict[str, str]) -> list[TestedNetwork]:
    """The networks tested on the dataset that they were fitted to."""
    return [
        TestedNetwork(
            fitted_to=dataset,
            test=test,
            validation=validated[run],
            asked=tuple(map(str, test.labels)),
            untaught=untaught,
        )
        for run, test in tested.items()
    ]


def of_guests(tested: Runs, validated: Runs, *, fitted_to: Exchange, untaught: dict[str, str]) -> list[TestedNetwork]:
    """The networks fitted to another dataset, whose choices are made on that dataset's validation split."""
    names = dict(fitted_to.labels)
    return [
        TestedNetwork(
            fitted_to=fitted_to.dataset,
            test=test,
            validation=validated[run],
            asked=tuple(names[label] for label in test.labels),
            untaught=untaught,
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
        of_other = plain.model_copy(update={"dataset": other.dataset})
        on_validation = predictions.read_all(of_other, validated_by[other.dataset])
        on_test = predictions.read_elsewhere(plain, tested_by[other.dataset], fitted_to=other, home=home)
        asked = [name for _, name in other.labels]
        untaught = eligibility.untaught(LABELS.read(labels), asked, file=labels)
        yield from of_guests(on_test, on_validation, fitted_to=other, untaught=untaught)


def choose(network: TestedNetwork, *, specificity: float) -> Choices:
    """A network's temperature and thresholds; nothing of the test set is used but the names of its labels."""
    validation = network.validation
    known = ~np.isnan(validation.target)
    thresholds = {}
    for label in network.asked:
        at = _position(validation, label)
        target, score = validation.target[at, known[at]], validation.score[at, known[at]]
        thresholds[label] = operating.threshold(target, score, specificity=specificity)
    temperature = recalibration.temperature(validation.target[known], validation.score[known])
    return Choices(temperature=temperature, thresholds=thresholds)


def _position(validation: Predictions, label: str) -> int:
    positions = np.flatnonzero(validation.labels == label)
    if not len(positions):
        raise UserError(f"has no scores of {label!r}", file=validation.file, remedy="run predict again")
    return int(positions[0])


def rows(networks: Iterable[TestedNetwork], *, comparison: Comparison) -> Iterator[dict]:
    """The choices of each network per label, with the counts behind them: rows of `SETTLED`."""
    for network in networks:
        yield from _rows(network, comparison=comparison)


def _rows(network: TestedNetwork, *, comparison: Comparison) -> Iterator[dict]:
    source, recipe, seed = network.validation.run
    chosen = choose(network, specificity=comparison.specificity)
    known = ~np.isnan(network.validation.target)
    target, score = network.validation.target[known], network.validation.score[known]
    scaled = np.nan if np.isnan(chosen.temperature) else recalibration.log_loss(target, score / chosen.temperature)
    for label in network.asked:
        of_label = network.validation.target[_position(network.validation, label)]
        lacking = [kind for kind, value in (("positive", 1), ("negative", 0)) if not (of_label == value).any()]
        yield {
            "dataset": network.fitted_to,
            "recipe": recipe,
            "source": source,
            "seed": seed,
            "label": label,
            "temperature": chosen.temperature,
            "log_loss": recalibration.log_loss(target, score),
            "log_loss_scaled": scaled,
            "known": int(known.sum()),
            "specificity": comparison.specificity,
            "threshold": chosen.thresholds[label],
            "cases": int((~np.isnan(of_label)).sum()),
            "positives": int((of_label == 1).sum()),
            "negatives": int((of_label == 0).sum()),
            "note": "; ".join(
                [f"no threshold: no {' and no '.join(lacking)} case in validation"] * bool(lacking)
                + _note_on_temperature(chosen.temperature)
            ),
        }


def _note_on_temperature(temperature: float) -> list[str]:
    """The note on a temperature that is missing or at a bound of the search."""
    if np.isnan(temperature):
        return ["no temperature: one class only in validation"]
    at_the_end = temperature in (recalibration.COLDEST, recalibration.HOTTEST)
    return [f"the temperature is at the end of what is looked for, {temperature:g}"] * at_the_end
