"""Power: the smallest difference that a study can detect with its test patients and seeds, before any training."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pydantic

from headwater.core import files, registry, text
from headwater.core.destinations import as_csv
from headwater.core.errors import UserError, did_you_mean
from headwater.core.progress import bar
from headwater.data import tables
from headwater.data.index import LABELS
from headwater.data.store import CASES
from headwater.evaluation import eligibility, predictions
from headwater.evaluation.eligibility import Label
from headwater.evaluation.predictions import Predictions
from headwater.evaluation.statistics import power as planned
from headwater.evaluation.statistics.power import Assumed, AssumedDice, Together
from headwater.study import config as study_config
from headwater.study import target as target_of
from headwater.study.archive import Dataset
from headwater.study.comparison import Comparison
from headwater.study.config import Config
from headwater.study.paths import Paths

SEEDS = (3, 5, 10)
"""Numbers of seeds per source that are shown besides the config's own."""

SEED_SPREADS = (0.006, 0.02)
"""Standard deviations of AUROC or Dice over trainings of one source: a small and a large one."""

METRICS = {"AUROC": ("score", ""), "Dice": ("true_positive", "dice")}
"""What is planned for: which column of evidence its labels have, and the metric by which their cases are chosen."""

LEFT_OUT = "its numbers are left out, as nothing tells before the first training how far networks will be off."


IN_FOLDS = "it is left out, as nothing tells before the first training how far folds will differ."


def power(
    config: Path,
    *,
    seeds: list[int] | None = None,
    auroc: float = Assumed().auroc,
    dice: float = AssumedDice().dice,
    case_spread: float = AssumedDice().case_spread,
    correlation: float | None = None,
    seed_correlation: float | None = None,
    patient_share: float | None = None,
    seed_spread: list[float] | None = None,
    power: float = Assumed().power,
    csv: Path | None = None,
) -> None:
    """Show the smallest difference in AUROC, or in Dice, that the test patients and seeds can detect.

    It is told per label or structure, and for the macro. Needs the config and the prepared cases, but no training.

    Args:
        config: Config file of the study.
        seeds: Numbers of seeds per source, such as 3 5 10; by default the config's, 3, 5 and 10.
        auroc: Assumed AUROC of both sources, above 0.5.
        dice: Assumed mean Dice of both sources.
        case_spread: Assumed standard deviation of the Dice over cases; the default is that of the hippocampus.
        correlation: Assumed correlation of what two sources' networks give for a case; 0.6 of scores, 0.7 of Dice.
        seed_correlation: The same for two seeds of one source; by default 0.8 of scores, 0.85 of Dice.
        patient_share: Share of the variance common to a patient's cases and labels; 0.5 of scores, 0.6 of Dice.
        seed_spread: Standard deviations of AUROC or Dice over trainings of one source; by default 0.006 and 0.02.
        power: Probability with which the difference is to be detected.
        csv: File to which the numbers are written with all digits.
    """
    plan = study_config.read(config)
    given = {"correlation": correlation, "seed_correlation": seed_correlation, "patient_share": patient_share}
    given = {name: value for name, value in given.items() if value is not None} | {"power": power}
    assumed = {
        "AUROC": _assumed(Assumed, {**given, "auroc": auroc}),
        "Dice": _assumed(AssumedDice, {**given, "dice": dice, "case_spread": case_spread}),
    }
    trainings = [(number, spread) for number in _numbers(seeds, plan) for spread in _spreads(seed_spread)]
    # all datasets are read first: one that is not prepared is reported before the long computation
    planned_for = [dataset for dataset in plan.datasets.values() if dataset.splits is None]
    parts = [part for dataset in planned_for for part in _measured(dataset, plan, assumed=assumed, config=config)]
    rows = [
        {"dataset": part.comparison.dataset, "metric": part.metric, **row}
        for part in bar(parts, total=len(parts), what="power")
        for row in _of_part(part, plan, trainings=trainings)
    ]
    if csv is not None:
        files.write_text(as_csv(pd.DataFrame(rows)), csv)
    for part in parts:
        of_part = [row for row in rows if (row["dataset"], row["metric"]) == (part.comparison.dataset, part.metric)]
        print(_heading(part, plan))
        print(text.as_text(_readable(pd.DataFrame(of_part))), end="\n\n")
    for dataset in plan.datasets.values():
        if dataset.splits:
            print(f"{dataset.name}: {IN_FOLDS}\n")
        elif any(map(target_of.of_numbers, dataset.tasks)):
            print(f"{dataset.name}: {LEFT_OUT}\n")
    print(_explained(plan, trainings=trainings, parts=parts))


def _assumed(kind: type[Assumed | AssumedDice], given: dict[str, float]) -> Assumed | AssumedDice:
    """The assumptions about a metric; refuses those that cannot be."""
    try:
        return kind(**given)
    except pydantic.ValidationError as error:
        raise UserError("; ".join(registry.mistakes(error, kind, prefix="power"))) from None


def _numbers(seeds: list[int] | None, plan: Config) -> list[int]:
    """The numbers of seeds in ascending order."""
    numbers = seeds or [len(plan.seeds), *SEEDS]
    if min(numbers) < 1:
        raise UserError(f"--seeds must be >= 1 (got {min(numbers)})")
    return sorted(set(numbers))


def _spreads(spreads: list[float] | None) -> list[float]:
    """The standard deviations over trainings in ascending order."""
    spreads = sorted(set(spreads or SEED_SPREADS))
    if not 0 <= spreads[0] <= spreads[-1] < 0.5:
        outside = next(spread for spread in spreads if not 0 <= spread < 0.5)
        raise UserError(f"--seed-spread must be from 0 to below 0.5 (got {outside:g})")
    return spreads


# the test cases


@dataclass(frozen=True, kw_only=True)
class Part:
    """The labels of a dataset's test cases that one metric measures."""

    metric: str
    """AUROC or Dice."""
    run: Predictions
    """The test cases as predictions without scores."""
    labels: list[Label]
    comparison: Comparison
    assumed: Assumed | AssumedDice

    @property
    def outlined(self) -> bool:
        """Whether only the cases that have a structure are measured."""
        return self.metric == "Dice"


def _measured(
    dataset: Dataset, plan: Config, *, assumed: Mapping[str, Assumed | AssumedDice], config: Path
) -> list[Part]:
    """A dataset's test cases by the metric that measures their labels, and which of these are tested."""
    paths = Paths(plan.results)
    file, label_file = Path(paths.cases(dataset.archive)), Path(paths.labels(dataset.archive))
    for product in (file, label_file):
        if not product.is_file():
            # the target comes first, because --configfile takes all words that follow it
            remedy = f"run snakemake {product} --configfile {config}"
            raise UserError(f"dataset {dataset.name} is not prepared", file=product, remedy=remedy)
    comparison = plan.grid().comparison(dataset.name)
    run, parts = _without_scores(CASES.read(file), dataset, file=file), []
    for metric, (column, name) in METRICS.items():
        if not (labels := comparison.giving(column, run.labels)):
            continue
        narrowed = predictions.narrowed(run, labels)
        untaught = eligibility.untaught(LABELS.read(label_file), labels, comparison=comparison, file=label_file)
        how = {"comparison": comparison, "untaught": untaught, "metric": name}
        tested = [eligibility.of(narrowed, at, **how) for at in range(len(labels))]
        parts.append(Part(metric=metric, run=narrowed, labels=tested, comparison=comparison, assumed=assumed[metric]))
    return parts


def _without_scores(cases: pd.DataFrame, dataset: Dataset, *, file: Path) -> Predictions:
    """The test cases and labels of a dataset, without its numbers, as predictions whose evidence is all 0."""
    labels = tables.labels_of(cases)
    names = [label for label in dataset.listed or labels if not target_of.of_numbers(dataset.task_of(label))]
    for label in names:
        if label not in labels:
            thing = f"there is no label {label!r} (datasets.{dataset.name})"
            raise UserError(thing, file=file, remedy=did_you_mean(label, labels))
    test = cases[cases["split"] == "test"]
    target = test[[tables.TARGET + label for label in names]].to_numpy(float).T
    return Predictions(
        file=file,
        run=("", "", 0),
        cases=test["case"].to_numpy(object),
        patients=test["patient"].to_numpy(object),
        labels=np.array(names, dtype=object),
        evidence={"target": target, "score": np.zeros_like(target)},
    )


def _counts(run: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Each patient's positive and negative cases: both (labels, patients)."""
    names, patient = np.unique(run.patients, return_inverse=True)
    positives, negatives = (
        np.array([np.bincount(patient[target == value], minlength=len(names)) for target in run.target])
        for value in (1, 0)
    )
    return positives, negatives


# detectable differences


def _of_part(part: Part, plan: Config, *, trainings: list[tuple[int, float]]) -> Iterator[dict]:
    """One row per label, number of tests, number of seeds and seed spread.

    The macro comes first, as a single test and as the first step of the correction over the whole family.
    """
    positives, negatives = _counts(part.run)
    tested = [at for at, label in enumerate(part.labels) if label.tested]
    lines = [(eligibility.macro(part.run, part.labels), tested, tests) for tests in sorted({1, _tests(plan)})]
    lines += [(label, [at], 1) for at, label in enumerate(part.labels)]
    for label, at, tests in lines:
        facts = {
            "label": label.name,
            "positive_patients": label.positive_patients,
            "negative_patients": label.negative_patients,
            "cases": len(label.known),
            "tests": tests,
            "note": label.note,
        }
        weights = None
        if label.tested and part.outlined:
            weights = planned.together_of_means(positives[at])
        elif label.tested:
            weights = planned.together(positives[at], negatives[at])
        for seeds, spread in trainings:
            shown = _detectable(weights, label, part, level=part.comparison.level / tests, seeds=seeds, spread=spread)
            yield facts | {"seeds": seeds, "seed_spread": spread} | shown


def _detectable(
    weights: Together | None, label: Label, part: Part, *, level: float, seeds: int, spread: float
) -> dict[str, float]:
    """The expected standard error and degrees of freedom, and the detectable difference; NaN for untested labels."""
    if weights is None:
        return dict.fromkeys(("standard_error", "degrees_of_freedom", "least_detectable"), np.nan)
    expected = planned.expected(
        weights,
        seeds=seeds,
        seed_spread=spread,
        paired=part.comparison.pairing == "paired",
        assumed=part.assumed,
        patients=label.smaller_class,
        most=label.most_degrees_of_freedom,
    )
    least = planned.least_detectable(expected, level=level, power=part.assumed.power)
    return {
        "standard_error": expected.estimate.standard_error,
        "degrees_of_freedom": expected.estimate.degrees_of_freedom,
        # an AUROC or a Dice above 1 does not exist
        "least_detectable": least if least <= 1 - part.assumed.level else np.inf,
    }


def _tests(plan: Config) -> int:
    """The number of tests in the confirmatory family: the macro of each pair, dataset, recipe and metric."""
    each = [plan.grid().comparison(dataset) for dataset in plan.datasets]
    return sum(len(one.pairs) * len(one.metrics) * len(one.recipes) for one in each)


# output


def _heading(part: Part, plan: Config) -> str:
    """The heading of the table of a dataset and a metric."""
    patients, level = len(set(part.run.patients)), plan.comparison.level
    return (
        f"{part.comparison.dataset}: {len(part.run.cases)} test cases of {patients} patients. Smallest difference in"
        f" {part.metric} detected at p < {level:g} with probability {part.assumed.power:g}\n"
    )


def _readable(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per label and number of tests, one column per number of seeds, with its spreads side by side."""
    lines = []
    for (label, tests), of_line in rows.groupby(["label", "tests"], sort=False):
        first = of_line.iloc[0]
        lines.append(
            {
                "Label": label if tests == 1 else f"{label}, {tests} tests",
                "Patients with": str(first["positive_patients"]),
                "Without": str(first["negative_patients"]),
                "Cases": str(first["cases"]),
                **{
                    f"{seeds} seed{'s' if seeds > 1 else ''}": _cell(of_seeds["least_detectable"])
                    for seeds, of_seeds in of_line.groupby("seeds")
                },
                "Note": first["note"] if tests == 1 else "first step of the correction",
            }
        )
    return pd.DataFrame(lines)


def _cell(least: pd.Series) -> str:
    """The differences for all seed spreads; only one if they agree."""
    words = [f"{value:.3f}" if np.isfinite(value) else text.NONE for value in least]
    return " / ".join(words) if len(set(words)) > 1 else words[0]


def _explained(plan: Config, *, trainings: list[tuple[int, float]], parts: list[Part]) -> str:
    """The assumptions, in sentences."""
    spreads = " / ".join(f"{spread:g}" for spread in sorted({spread for _, spread in trainings}))
    sentences = []
    for metric, assumed in {part.metric: part.assumed for part in parts}.items():
        alike = (
            f"by {assumed.correlation:g} between sources, {assumed.seed_correlation:g} between seeds."
            f" {100 * assumed.patient_share:g} % of"
        )
        shared = "is common to all cases and labels of a patient, the rest is specific to the label."
        sentences.append(
            f"Assumptions: {metric} {assumed.level:g}; standard deviation over trainings of one source {spreads}."
        )
        if isinstance(assumed, AssumedDice):
            sentences.append(
                f"Over cases the Dice has a standard deviation of {assumed.case_spread:g} (the default is that of a"
                " U-Net on the Decathlon's hippocampus; where a structure is missed in some cases, it is several times"
                f" that). The Dice of a case correlate {alike} the variance {shared}"
            )
        else:
            sentences.append(f"Scores of a case correlate {alike} a score's variance {shared}")
    if parts:
        sentences.append("A better training is better on all labels.")
    if plan.comparison.pairing == "paired":
        sentences.append("Pairing is assumed to bring no gain.")
    if any(seeds == 1 for seeds, _ in trainings):
        sentences.append("With one seed, two trained networks are compared, not two sources (no training noise).")
    sentences.append(
        f"{text.NONE}: not tested, or only a value above 1 would be a detectable difference. Once there are results,"
        " set --auroc or --dice and --case-spread, --correlation and --seed-spread to what they show."
    )
    return textwrap.fill(" ".join(sentences), width=120)
