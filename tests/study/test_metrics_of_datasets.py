"""A study of labels in one dataset and of outlines in another: metrics go where they fit."""

import pytest

from headwater.core.errors import UserError
from headwater.study import config as study_config


def plan(metrics: list[str], **datasets: dict) -> study_config.Config:
    kind = {"name": "msd", "structures": ["front", "back"]}
    return study_config.load(
        {
            "seeds": [0, 1],
            "backbone": "monai/segresnet_small",
            "archives": {"organ": {"kind": kind, "folder": "/organ", "size": 16}},
            "sources": {"random": {}, "other": {}},
            "datasets": {name: {"archive": "organ", **entry} for name, entry in datasets.items()},
            "recipes": {"full": {"training": {"steps": 5}, "select": "score"}},
            "comparison": {"reference": "random", "metrics": metrics, "resamples": 2000},
        }
    )


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
