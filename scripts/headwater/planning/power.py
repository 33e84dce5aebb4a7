"""Power: the smallest difference that a study can detect with its test patients and seeds, before any training."""

import textwrap
from collections.abc import Iterator
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
from headwater.evaluation.statistics.power import Assumed, Together
from headwater.study import config as study_config
from headwater.study.archive import Dataset
from headwater.study.comparison import Comparison
from headwater.study.config import Config
from headwater.study.paths import Paths

SEEDS = (3, 5, 10)
"""Numbers of seeds per source that are shown besides the config's own."""

SEED_SPREADS = (0.006, 0.02)
"""Standard deviations of the AUROC over trainings of one source: a small and a large one."""


def power(
    config: Path,
    *,
    seeds: list[int] | None = None,
    auroc: float = Assumed().auroc,
    correlation: float = Assumed().correlation,
    seed_correlation: float = Assumed().seed_correlation,
    patient_share: float = Assumed().patient_share,
    seed_spread: list[float] | None = None,
    power: float = Assumed().power,
    csv: Path | None = None,
) -> None:
    """Show the smallest difference in AUROC that the test patients and seeds can detect, per label and for the macro.

    Needs the config and the prepared cases, but no training.

    Args:
        config: Config file of the study.
        seeds: Numbers of seeds per source, such as 3 5 10; by default the config's, 3, 5 and 10.
        auroc: Assumed AUROC of both sources, above 0.5.
        correlation: Assumed correlation of the scores that the networks of two sources give to a case.
        seed_correlation: The same for two seeds of one source.
        patient_share: Share of a score's variance that is common to all cases and labels of a patient.
        seed_spread: Standard deviations of the AUROC over trainings of one source; by default 0.006 and 0.02.
        power: Probability with which the difference is to be detected.
        csv: File to which the numbers are written with all digits.
    """
    plan = study_config.read(config)
    try:
        assumed = Assumed(
            auroc=auroc,
            correlation=correlation,
            seed_correlation=seed_correlation,
            patient_share=patient_share,
            power=power,
        )
    except pydantic.ValidationError as error:
        raise UserError("; ".join(registry.mistakes(error, Assumed, prefix="power"))) from None
    trainings = [(number, spread) for number in _numbers(seeds, plan) for spread in _spreads(seed_spread)]
    # all datasets are read first: one that is not prepared is reported before the long computation
    test_cases = {dataset: _test_cases(plan.datasets[dataset], plan, config=config) for dataset in plan.datasets}
    rows = []
    for dataset, (run, parts) in bar(test_cases.items(), total=len(test_cases), what="power"):
        rows += _of_dataset(run, parts, plan.grid().comparison(dataset), plan, trainings=trainings, assumed=assumed)
    table = pd.DataFrame(rows)
    if csv is not None:
        files.write_text(as_csv(table), csv)
    for dataset, rows_of_dataset in table.groupby("dataset", sort=False):
        print(_heading(dataset, test_cases[dataset][0], plan, assumed=assumed))
        print(text.as_text(_readable(rows_of_dataset)), end="\n\n")
    print(_explained(plan, trainings=trainings, assumed=assumed))


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


def _test_cases(dataset: Dataset, plan: Config, *, config: Path) -> tuple[Predictions, list[Label]]:
    """The dataset's test cases as predictions without scores, of the labels that get one, and which are tested."""
    paths = Paths(plan.results)
    file, label_file = Path(paths.cases(dataset.archive)), Path(paths.labels(dataset.archive))
    for product in (file, label_file):
        if not product.is_file():
            # the target comes first, because --configfile takes all words that follow it
            remedy = f"run snakemake {product} --configfile {config}"
            raise UserError(f"dataset {dataset.name} is not prepared", file=product, remedy=remedy)
    comparison = plan.grid().comparison(dataset.name)
    run = _without_scores(CASES.read(file), dataset, file=file)
    run = predictions.narrowed(run, comparison.giving("score", run.labels))
    untaught = eligibility.untaught(LABELS.read(label_file), run.labels, comparison=comparison, file=label_file)
    return run, [eligibility.of(run, at, comparison=comparison, untaught=untaught) for at in range(len(run.labels))]


def _without_scores(cases: pd.DataFrame, dataset: Dataset, *, file: Path) -> Predictions:
    """The test cases and labels of a dataset as predictions whose scores are all 0."""
    labels = tables.labels_of(cases)
    for label in dataset.listed:
        if label not in labels:
            thing = f"there is no label {label!r} (datasets.{dataset.name})"
            raise UserError(thing, file=file, remedy=did_you_mean(label, labels))
    test = cases[cases["split"] == "test"]
    names = dataset.listed or tuple(labels)
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


def _of_dataset(
    run: Predictions,
    parts: list[Label],
    comparison: Comparison,
    plan: Config,
    *,
    trainings: list[tuple[int, float]],
    assumed: Assumed,
) -> Iterator[dict]:
    """One row per label, number of tests, number of seeds and seed spread.

    The macro comes first, as a single test and as the first step of the correction over the whole family.
    """
    positives, negatives = _counts(run)
    tested = [at for at, label in enumerate(parts) if label.tested]
    lines = [(eligibility.macro(run, parts), tested, tests) for tests in sorted({1, _tests(plan)})]
    lines += [(label, [at], 1) for at, label in enumerate(parts)]
    for label, at, tests in lines:
        facts = {
            "dataset": comparison.dataset,
            "label": label.name,
            "positive_patients": label.positive_patients,
            "negative_patients": label.negative_patients,
            "cases": len(label.known),
            "tests": tests,
            "note": label.note,
        }
        weights = planned.together(positives[at], negatives[at]) if label.tested else None
        for seeds, spread in trainings:
            shown = _detectable(weights, label, comparison, tests, seeds=seeds, spread=spread, assumed=assumed)
            yield facts | {"seeds": seeds, "seed_spread": spread} | shown


def _detectable(
    weights: Together | None,
    label: Label,
    comparison: Comparison,
    tests: int,
    *,
    seeds: int,
    spread: float,
    assumed: Assumed,
) -> dict[str, float]:
    """The expected standard error and degrees of freedom, and the detectable difference; NaN for untested labels."""
    if weights is None:
        return dict.fromkeys(("standard_error", "degrees_of_freedom", "least_detectable"), np.nan)
    expected = planned.expected(
        weights,
        seeds=seeds,
        seed_spread=spread,
        paired=comparison.pairing == "paired",
        assumed=assumed,
        patients=label.smaller_class,
        most=label.most_degrees_of_freedom,
    )
    least = planned.least_detectable(expected, level=comparison.level / tests, power=assumed.power)
    return {
        "standard_error": expected.estimate.standard_error,
        "degrees_of_freedom": expected.estimate.degrees_of_freedom,
        # an AUROC above 1 does not exist
        "least_detectable": least if least <= 1 - assumed.auroc else np.inf,
    }


def _tests(plan: Config) -> int:
    """The number of tests in the confirmatory family: the macro of each pair, dataset, recipe and metric."""
    each = [plan.grid().comparison(dataset) for dataset in plan.datasets]
    return sum(len(one.pairs) * len(one.metrics) * len(one.recipes) for one in each)


# output


def _heading(dataset: str, run: Predictions, plan: Config, *, assumed: Assumed) -> str:
    """The heading of a dataset's table."""
    patients, level = len(set(run.patients)), plan.comparison.level
    return (
        f"{dataset}: {len(run.cases)} test cases of {patients} patients. Smallest difference in AUROC detected"
        f" at p < {level:g} with probability {assumed.power:g}\n"
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


def _explained(plan: Config, *, trainings: list[tuple[int, float]], assumed: Assumed) -> str:
    """The assumptions, in sentences."""
    spreads = " / ".join(f"{spread:g}" for spread in sorted({spread for _, spread in trainings}))
    sentences = [
        f"Assumptions: AUROC {assumed.auroc:g}; standard deviation over trainings of one source {spreads}.",
        f"Scores of a case correlate by {assumed.correlation:g} between sources, {assumed.seed_correlation:g} between",
        f"seeds. {100 * assumed.patient_share:g} % of a score's variance is common to all cases and labels of a",
        "patient, the rest is specific to the label. A better training is better on all labels.",
    ]
    if plan.comparison.pairing == "paired":
        sentences.append("Pairing is assumed to bring no gain.")
    if any(seeds == 1 for seeds, _ in trainings):
        sentences.append("With one seed, two trained networks are compared, not two sources (no training noise).")
    sentences.append(
        f"{text.NONE}: not tested, or only an AUROC above 1 would be a detectable difference."
        " Once there are results, set --auroc, --correlation and --seed-spread to what they show."
    )
    return textwrap.fill(" ".join(sentences), width=120)
