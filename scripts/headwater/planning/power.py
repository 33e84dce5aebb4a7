"""Plan: what a study could find with the patients and seeds at hand, asked before a GPU is."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pydantic

from headwater.core import files, registry, text
from headwater.core.errors import UserError, did_you_mean
from headwater.core.progress import bar
from headwater.data import tables
from headwater.data.index import LABELS
from headwater.data.store import CASES
from headwater.evaluation import eligibility
from headwater.evaluation.eligibility import Label
from headwater.evaluation.predictions import Predictions
from headwater.evaluation.statistics import power as planned
from headwater.evaluation.statistics.power import Assumed, Together
from headwater.study import config as study_config
from headwater.study.archive import Dataset
from headwater.study.comparison import Comparison
from headwater.study.config import Config

SEEDS = (3, 5, 10)
"""Numbers of seeds that are looked at besides the config's own."""

SEED_SPREADS = (0.006, 0.02)
"""Standard deviations of the AUROC over trainings: a small and a large one."""


def power(
    *,
    config: Path,
    seeds: list[int] | None = None,
    auroc: float = Assumed().auroc,
    correlation: float = Assumed().correlation,
    seed_correlation: float = Assumed().seed_correlation,
    patient_share: float = Assumed().patient_share,
    seed_spread: list[float] | None = None,
    power: float = Assumed().power,
    csv: Path | None = None,
) -> None:
    """Print the least difference in AUROC that each finding's test patients would show, and the macro.

    --seeds            numbers of seeds per source, such as 3 5 10; by default the config's, 3, 5 and 10
    --auroc            of both sources (0.8)
    --correlation      of the scores that two sources' networks give one case (0.6)
    --seed-correlation the same for two seeds of one source (0.8)
    --patient-share    of a score's variance that a patient's cases and findings have together (0.5)
    --seed-spread      standard deviations of the AUROC over trainings (0.006 0.02)
    --power            how likely the difference is to be found (0.8)
    --csv              a file for the numbers with all digits
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
    at_hand = {dataset: _test_cases(plan.datasets[dataset], plan, config=config) for dataset in plan.datasets}
    rows = []
    for dataset, (run, parts) in bar(at_hand.items(), total=len(at_hand), what="power"):
        rows += _of_dataset(run, parts, plan.grid().comparison(dataset), plan, trainings=trainings, assumed=assumed)
    table = pd.DataFrame(rows)
    if csv is not None:
        files.write_text(table.to_csv(index=False), csv)
    for dataset, rows_of_dataset in table.groupby("dataset", sort=False):
        print(_heading(dataset, at_hand[dataset][0], plan, assumed=assumed))
        print(text.as_text(_readable(rows_of_dataset)), end="\n\n")
    print(_explained(plan, trainings=trainings, assumed=assumed))


def _numbers(seeds: list[int] | None, plan: Config) -> list[int]:
    """The numbers of seeds, rising."""
    asked = seeds or [len(plan.seeds), *SEEDS]
    if min(asked) < 1:
        raise UserError(f"--seeds: {min(asked)} trainings cannot be planned", remedy="say 1 or more")
    return sorted(set(asked))


def _spreads(asked: list[float] | None) -> list[float]:
    """The standard deviations over trainings, rising."""
    spreads = sorted(set(asked or SEED_SPREADS))
    if not 0 <= spreads[0] <= spreads[-1] < 0.5:
        raise UserError(f"--seed-spread: {asked} is no spread of an AUROC", remedy="say numbers from 0 to 0.5")
    return spreads


# what is at hand


def _test_cases(dataset: Dataset, plan: Config, *, config: Path) -> tuple[Predictions, list[Label]]:
    """The dataset's test cases in the form of predictions without scores, and the part that each label takes."""
    folder = Path(plan.results) / "archives" / dataset.archive
    file, counted = folder / "cases.parquet", folder / "labels.parquet"
    for product in (file, counted):
        if not product.is_file():
            # the target first: --configfile takes all words that follow it
            remedy = f"prepare it first: snakemake {product} --configfile {config}"
            raise UserError(f"dataset {dataset.name} is not prepared", file=product, remedy=remedy)
    run = _without_scores(CASES.read(file), dataset, file=file)
    untaught = eligibility.untaught(LABELS.read(counted), run.labels, file=counted)
    comparison = plan.grid().comparison(dataset.name)
    return run, [eligibility.of(run, at, comparison=comparison, untaught=untaught) for at in range(len(run.labels))]


def _without_scores(cases: pd.DataFrame, dataset: Dataset, *, file: Path) -> Predictions:
    """The test cases with the dataset's labels, as a run would predict them."""
    known = tables.labels_of(cases)
    for label in dataset.labels:
        if label not in known:
            thing = f"there is no label {label!r} (datasets.{dataset.name})"
            raise UserError(thing, file=file, remedy=did_you_mean(label, known))
    test = cases[cases["split"] == "test"]
    names = dataset.labels or tuple(known)
    target = test[[tables.TARGET + label for label in names]].to_numpy(float).T
    return Predictions(
        file=file,
        run=("", "", 0),
        cases=test["case"].to_numpy(object),
        patients=test["patient"].to_numpy(object),
        labels=np.array(names, dtype=object),
        target=target,
        score=np.zeros_like(target),
    )


def _counts(run: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Each patient's positive and negative cases: both (labels, patients)."""
    names, patient = np.unique(run.patients, return_inverse=True)
    positives, negatives = (
        np.array([np.bincount(patient[target == value], minlength=len(names)) for target in run.target])
        for value in (1, 0)
    )
    return positives, negatives


# what it could show


def _of_dataset(
    run: Predictions,
    parts: list[Label],
    comparison: Comparison,
    plan: Config,
    *,
    trainings: list[tuple[int, float]],
    assumed: Assumed,
) -> Iterator[dict]:
    """One row per finding, number of tests, number of seeds and seed spread; the macro first, alone and among all."""
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
    """What the analysis would come to, and the least difference it finds; NaN for what is not tested."""
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
        # no source can be better than perfect
        "least_detectable": least if least <= 1 - assumed.auroc else np.inf,
    }


def _tests(plan: Config) -> int:
    """How many tests the confirmatory family has: macro, by pair, dataset, recipe and metric."""
    pairs = sum(len(plan.grid().comparison(dataset).pairs) for dataset in plan.datasets)
    return pairs * len(plan.recipes) * len(plan.comparison.metrics)


# in words


def _heading(dataset: str, run: Predictions, plan: Config, *, assumed: Assumed) -> str:
    """What the table of a dataset is about."""
    patients, level = len(set(run.patients)), plan.comparison.level
    return (
        f"{dataset}: {len(run.cases)} cases of {patients} patients in test. Least difference in AUROC"
        f" found at p < {level:g} with probability {assumed.power:g}\n"
    )


def _readable(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per finding and number of tests, one column per number of seeds, its spreads side by side."""
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
                "Note": first["note"] if tests == 1 else "the first step of the correction",
            }
        )
    return pd.DataFrame(lines)


def _cell(least: pd.Series) -> str:
    """The differences for all seed spreads; once if the spread does not matter."""
    words = [f"{value:.3f}" if np.isfinite(value) else text.NONE for value in least]
    return " / ".join(words) if len(set(words)) > 1 else words[0]


def _explained(plan: Config, *, trainings: list[tuple[int, float]], assumed: Assumed) -> str:
    """What was assumed, in sentences."""
    spreads = " / ".join(f"{spread:g}" for spread in sorted({spread for _, spread in trainings}))
    said = [
        f"Assumed: an AUROC of {assumed.auroc:g}; trainings of one source differ by a standard deviation of {spreads}.",
        f"Scores of one case correlate by {assumed.correlation:g} between sources and by {assumed.seed_correlation:g}",
        f"between seeds; {100 * assumed.patient_share:g} % of what a score varies by is the patient's, in all cases",
        "and findings, the rest is each finding's own. A training that does better does so in all findings.",
    ]
    if plan.comparison.pairing == "paired":
        said.append("Paired trainings are taken to gain nothing from it.")
    if any(seeds == 1 for seeds, _ in trainings):
        said.append("One seed tells two trained networks apart, not two sources: training noise is not in it.")
    said.append(
        f"{text.NONE}: no difference that leaves an AUROC below 1 would be found, or none is tested."
        " The first results tell better than any assumption what to set with --auroc, --correlation and --seed-spread."
    )
    return textwrap.fill(" ".join(said), width=120)
