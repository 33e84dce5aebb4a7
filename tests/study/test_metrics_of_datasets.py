"""A study of labels in one dataset and of outlines in another: metrics go where they fit."""

import pytest

from headwater.core.errors import UserError
from headwater.study import config as study_config


def plan_of(metrics: list[str], **datasets: dict) -> dict:
    """The content of a config."""
    kind = {"name": "msd", "structures": ["front", "back"]}
    return {
        "seeds": [0, 1],
        "backbone": "monai/segresnet_small",
        "archives": {"organ": {"kind": kind, "folder": "/organ", "size": 16}},
        "sources": {"random": {}, "other": {}},
        "datasets": {name: {"archive": "organ", **entry} for name, entry in datasets.items()},
        "recipes": {"full": {"training": {"steps": 5}, "select": "score"}},
        "comparison": {"reference": "random", "metrics": metrics, "resamples": 2000},
    }


def plan(metrics: list[str], **datasets: dict) -> study_config.Config:
    return study_config.load(plan_of(metrics, **datasets))


TOLD = {"labels": ["front"]}
OUTLINED = {"labels": ["front", "back"], "task": "segmentation"}


def test_each_dataset_is_compared_by_the_metrics_that_fit_it():
    grid = plan(["auroc", "dice", "surface_dice"], told=TOLD, outlined=OUTLINED).grid()
    assert grid.comparison("told").metrics == ("auroc",)
    assert grid.comparison("outlined").metrics == ("dice", "surface_dice")


def test_a_metric_that_fits_no_dataset_is_refused():
    with pytest.raises(UserError, match=r"comparison.metrics: dice needs .*; dataset told \(classification\) gives"):
        plan(["auroc", "dice"], told=TOLD)


def test_a_dataset_without_a_metric_is_refused():
    with pytest.raises(UserError, match=r"comparison.metrics: dice needs .*; dataset told \(classification\) gives"):
        plan(["dice"], told=TOLD, outlined=OUTLINED)


def test_each_dataset_is_fitted_by_its_own_recipes():
    fitted = {"told": {**TOLD, "recipes": ["told"]}, "outlined": {**OUTLINED, "recipes": ["outlined"]}}
    recipes = {"told": ("auroc", {"class_weights": True}), "outlined": ("dice", {"foreground": 0.5})}
    content = plan_of(["auroc", "dice"], **fitted)
    content["recipes"] = {
        name: {"training": {"steps": 5}, "select": select, **more} for name, (select, more) in recipes.items()
    }
    grid = study_config.load(content).grid()
    for name in fitted:
        assert grid.comparison(name).recipes == (name,)
        assert {run.recipe.name for run in grid.runs(name)} == {name}
    # which recipes a dataset follows is no part of a run
    content["datasets"]["told"]["recipes"] = ["told", "more"]
    content["recipes"]["more"] = {"training": {"steps": 7}}
    more = study_config.load(content).grid()
    assert next(grid.runs("told")).digest == next(more.runs("told")).digest


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (["ful"], "datasets.told.recipes: there is no 'ful'; did you mean 'full'"),
        (["full", "full"], "datasets.told.recipes: a recipe is listed twice"),
    ],
)
def test_recipes_that_are_none_are_refused(told: list[str], said: str):
    with pytest.raises(UserError, match=said):
        plan(["auroc"], told={**TOLD, "recipes": told})


def test_a_recipe_that_no_dataset_follows_is_told():
    content = plan_of(["auroc"], told={**TOLD, "recipes": ["full"]})
    content["recipes"]["idle"] = {"training": {"steps": 5}}
    with pytest.raises(UserError, match=r"recipes.idle: nothing is fitted by it; add it to datasets.NAME.recipes"):
        study_config.load(content)
