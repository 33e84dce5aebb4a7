"""Metrics over folds of outlines and numbers: those of each fold's cases, by hand; without cases there is no value."""

from pathlib import Path

import numpy as np
import pytest

from headwater.evaluation import cross_validation, eligibility
from headwater.evaluation.predictions import Predictions
from headwater.study.comparison import Comparison
from headwater.study.folds import Folds

CASES, FOLDS = 36, 3


def comparison(**settings) -> Comparison:
    plan = {"dataset": "knees", "sources": ("random", "dino"), "recipes": ("full",), "seeds": (0, 1)}
    return Comparison(**plan, splits=Folds(folds=FOLDS), reference="random", fewest_positive=2, **settings)


def runs_of(
    evidence: dict[str, np.ndarray], *, draw: np.random.Generator, labels: list[str]
) -> cross_validation.Tested:
    """Runs that share a target (labels, cases), and differ in all else; a patient has two cases."""
    shared = {"patients": np.array([f"p{row // 2:02d}" for row in range(CASES)], object), "file": Path("x.parquet")}
    shared |= {"cases": np.array([f"c{row:02d}" for row in range(CASES)], object), "labels": np.array(labels, object)}
    runs = {}
    for source in ("random", "dino"):
        for seed in (0, 1):
            own = {
                name: values + draw.integers(0, 9, values.shape) * (name != "target")
                for name, values in evidence.items()
            }
            runs[source, "full", seed] = Predictions(run=(source, "full", seed), evidence=own, **shared)
    return cross_validation.Tested(runs=runs, fold=np.arange(CASES) // 2 % FOLDS, files=[])


def measured(found: cross_validation.Tested, plan: Comparison, labels: list[str]) -> dict:
    """The statistics by metric and label."""
    first = next(iter(found.runs.values()))
    judged = eligibility.parts(first, comparison=plan, untaught={})
    return {(one.metric, one.label.name): one for one in cross_validation.statistics(found, judged, comparison=plan)}


def test_outlines_are_measured_on_the_cases_that_a_metric_is_about():
    draw = np.random.default_rng(0)
    target = (draw.random((2, CASES)) < 0.6).astype(float)
    # a fold in which every case has the second structure can tell nothing of what is made up
    target[1, np.arange(CASES) // 2 % FOLDS == 2] = 1
    plan = comparison(task="segmentation", metrics=("dice", "hallucination"))
    evidence = {name: np.ones((2, CASES)) for name in plan.evidence} | {"target": target}
    evidence["true_positive"] = evidence["false_negative"] = target.copy()
    found = runs_of(evidence, draw=draw, labels=["bone", "cartilage"])
    statistics = measured(found, plan, ["bone", "cartilage"])
    run = found.runs["random", "full", 1]
    counts = [run.evidence[name][0] for name in ("true_positive", "false_positive", "false_negative")]
    dice = 2 * counts[0] / (2 * counts[0] + counts[1] + counts[2])
    # runs are ordered by source, then by seed
    for number in range(FOLDS):
        inside = (found.fold == number) & (target[0] == 1)
        assert statistics["dice", "bone"].of_folds[1, number] == pytest.approx(dice[inside].mean())
        made_up = run.evidence["false_positive"][0][(found.fold == number) & (target[0] == 0)] > 0
        assert statistics["hallucination", "bone"].of_folds[1, number] == pytest.approx(made_up.mean())
    left_out = statistics["hallucination", "cartilage"].label
    assert left_out.note == "left out: no negative case in fold 2" and not left_out.measured
    assert statistics["dice", "cartilage"].label.tested
    # so the macro of the one is of both structures, and that of the other of one
    assert "mean of 2 labels" in statistics["dice", "macro"].label.note
    of_bone = statistics["hallucination", "bone"].of_folds
    assert np.array_equal(statistics["hallucination", "macro"].of_folds, of_bone)


def test_numbers_are_measured_fold_by_fold_and_a_constant_fold_has_no_value():
    draw = np.random.default_rng(1)
    plan = comparison(task="regression", metrics=("mean_absolute_error", "r_squared"))
    values = draw.normal(size=(1, CASES))
    evidence = {"target": np.ones((1, CASES)), "value": values, "predicted": values + draw.normal(size=values.shape)}
    found = runs_of(evidence, draw=draw, labels=["volume"])
    for run in found.runs.values():
        run.evidence["value"][:] = values
    run, inside = found.runs["dino", "full", 0], found.fold == 1
    error = abs(run.evidence["predicted"][0] - values[0])[inside].mean()
    assert measured(found, plan, ["volume"])["mean_absolute_error", "volume"].of_folds[2, 1] == pytest.approx(error)
    for run in found.runs.values():
        run.evidence["value"][:, inside] = 1.0
    constant = measured(found, plan, ["volume"])["r_squared", "volume"]
    difference = constant.of_difference(slice(0, 2), slice(2, 4), paired=True)
    assert np.isnan(constant.of_folds[:, 1]).all() and np.isnan([difference.value, difference.p()]).all()
