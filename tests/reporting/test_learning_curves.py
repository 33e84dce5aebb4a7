"""Learning curves: which recipes make one, the numbers that are drawn, and that nothing is drawn of other studies."""

import re

import pandas as pd
import pytest

from headwater.reporting.figures import learning_curves
from headwater.reporting.results import StudyResults
from headwater.study.recipe import Recipe, Training
from report_made import archive_cases, changed, drawn, grid_of

LENGTH = Training(steps=100)
SHARES = {"tenth": 0.1, "finetune": 1.0, "quarter": 0.25}


@pytest.fixture
def made(tmp_path):
    """The results of a study, of which nothing is written yet."""
    comparing = {"controls": ("random_again",), "recipes": ("finetune",)}
    grid = grid_of(("random", "wild_dino", "random_again"), twin=True, seeds=(0, 1), comparing=comparing)
    return StudyResults(grid, results=tmp_path)


def recipe(name, **different) -> Recipe:
    return Recipe(name=name, **{"training": LENGTH} | different)


def compared(grid, dataset) -> pd.DataFrame:
    """A macro and a label of each source and recipe, whose values tell which they are."""
    numbers = {"value_se": 0.01, "published_value": 0.0, "published_sd": 0.0, "reference": ""}
    return pd.DataFrame(
        [
            {"dataset": dataset, "metric": metric, "recipe": fitted.name, "label": label, "source": source.name}
            | {"value": value, "value_low": value - 0.05, "value_high": value + 0.04, **numbers}
            for at_metric, metric in enumerate(grid.comparing.metrics)
            for fitted in grid.recipes_of(dataset)
            for at, source in enumerate(grid.sources)
            for label, shift in (("macro", 0.0), ("Edema", 0.3))
            for value in [0.5 + 0.2 * fitted.fraction + 0.1 * at + 0.01 * at_metric - shift]
        ]
    )


def fitted_by(made, *recipes, **of_datasets):
    """The study with these recipes, some of its datasets by some of them, and with comparisons to match."""
    grid = changed(made.grid, metrics=("auroc", "brier"))
    datasets = tuple(
        dataset.model_copy(update={"recipes": of_datasets.get(dataset.name, ())}) for dataset in grid.datasets
    )
    grid = grid.model_copy(update={"recipes": recipes, "datasets": datasets})
    results = StudyResults(grid, results=made.paths.results)
    cases = archive_cases({"Edema": 0.3})
    results.cases = {dataset.archive: cases for dataset in datasets}
    results.comparisons = pd.concat([compared(grid, dataset.name) for dataset in datasets], ignore_index=True)
    return results


def test_recipes_that_differ_in_nothing_but_their_fraction_are_one_curve():
    shares = [recipe(name, fraction=share) for name, share in SHARES.items()]
    probes = [recipe("probe", kind="linear_probe"), recipe("few", kind="linear_probe", fraction=0.1)]
    others = [recipe("longer", training=Training(steps=200), fraction=0.5), recipe("flipped", views={"flip": 0.5})]
    named = [[one.name for one in curve] for curve in learning_curves.curves([*probes, *shares, *others])]
    assert named == [["few", "probe"], ["tenth", "quarter", "finetune"]]
    # how many processes share the work moves no number
    apart = [recipe("all"), recipe("half", fraction=0.5, compute={"ranks": 2})]
    assert [len(curve) for curve in learning_curves.curves(apart)] == [2]


def test_each_point_is_the_macro_of_its_comparison_and_the_patients_that_were_learned_from(made):
    shares = [recipe(name, fraction=share) for name, share in SHARES.items()]
    results = fitted_by(made, *shares)
    chest = results.grid.dataset("chest")
    rows = learning_curves.points(results.comparisons, dataset=chest, patients=200, grid=results.grid)
    assert len(rows) == 2 * 2 * 3 and set(rows["source"]) == {"random", "wild_dino"}
    assert set(zip(rows["fraction"], rows["patients"], strict=True)) == {(0.1, 20), (0.25, 50), (1.0, 200)}
    for row in rows.itertuples():
        of = 0.1 * (row.source == "wild_dino") + 0.01 * (row.metric == "brier")
        assert row.value == pytest.approx(0.5 + 0.2 * row.fraction + of)
        assert (row.value_low, row.value_high) == pytest.approx((row.value - 0.05, row.value + 0.04))


def test_curves_have_a_panel_a_metric_a_line_a_source_and_a_tick_a_share(made):
    shares = [recipe(name, fraction=share) for name, share in SHARES.items()]
    svgs = drawn(fitted_by(made, *shares, vindr=("tenth",)), "learning_curves")
    assert set(svgs) == {"learning_curves_chest"}
    words = re.findall(r"<text [^>]*>([^<]*)</text>", svgs["learning_curves_chest"])
    # the archive's training split has 400 cases, two a patient
    for tick in ("20", "10%", "50", "25%", "200", "100%"):
        assert words.count(tick) == 2
    assert words.count("random") == 1 and words.count("wild_dino") == 1 and "random_again" not in words
    assert words.count("AUROC") == 1 and words.count("Brier score, lower is better") == 1
    assert words.count("training patients, and their share") == 2


def test_two_curves_are_told_apart_by_the_recipe_of_their_largest_share(made):
    probes = [recipe("probe", kind="linear_probe"), recipe("few", kind="linear_probe", fraction=0.1)]
    svg = drawn(fitted_by(made, *probes, recipe("all"), recipe("tenth", fraction=0.1)), "learning_curves")
    words = re.findall(r"<text [^>]*>([^<]*)</text>", svg["learning_curves_vindr"])
    assert words.count("AUROC, probe") == 1 and words.count("AUROC, all") == 1


def test_nothing_is_drawn_where_no_recipe_differs_in_its_fraction_alone(made):
    assert drawn(fitted_by(made, recipe("finetune")), "learning_curves") == {}
    other = recipe("tenth", fraction=0.1, training=Training(steps=10))
    assert drawn(fitted_by(made, recipe("finetune"), other), "learning_curves") == {}


def test_what_could_not_be_measured_has_no_point(made):
    results = fitted_by(made, recipe("finetune"), recipe("tenth", fraction=0.1))
    results.comparisons = results.comparisons.assign(value=float("nan"))
    assert drawn(results, "learning_curves") == {}
