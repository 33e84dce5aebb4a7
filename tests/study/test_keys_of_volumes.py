"""Keys of trainings on volumes reach a job where they have an effect, and are refused where they have none."""

import copy
from typing import Any

import pytest

from headwater.core.errors import UserError
from headwater.study import config as study_config
from headwater.study import settings
from headwater.study.job_graph import JobGraph

NETWORK = {"backbone": "monai/segresnet", "mean": [0.0], "std": [1.0]}
TRAINING = {"steps": 40, "batch": 4}
CONFIG = {
    "seeds": [0],
    "archives": {"hip": {"kind": "msd", "folder": "x", "size": [32, 48, 32]}},
    "sources": {
        "random": NETWORK,
        "ours": {**NETWORK, "method": "simclr", "corpus": "hip", "training": TRAINING, "views": {"flip": 0.5}},
    },
    "datasets": {"hip": {"task": "segmentation", "labels": ["anterior", "posterior"]}},
    "recipes": {"full": {"training": TRAINING, "select": "dice", "views": {"flip": 0.5}}},
    "comparison": {"metrics": ["dice"]},
}


def changed(place: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    *above, last = place.split(".")
    section = config
    for part in above:
        section = section.setdefault(part, {})
    section[last] = value
    return config


def told(content: dict[str, Any]) -> list[Any]:
    """The settings of the jobs that train and predict."""
    graph = JobGraph(study_config.load(content))
    run = {"dataset": "hip", "source": "ours", "recipe": "full"}
    return [
        settings.of(graph, "pretrain", {"source": "ours"}),
        settings.of(graph, "finetune", {**run, "seed": "0"}),
        settings.of(graph, "predict", run),
    ]


def test_networks_of_volumes_take_them_as_they_are_shown_unless_the_config_says_otherwise():
    given = {"random": {"backbone": "monai/segresnet"}, "set": {"backbone": "monai/segresnet", "mean": [0.5]}}
    sources = study_config.load(changed("sources", {**given, "ours": CONFIG["sources"]["ours"]})).sources
    assert [(one.mean, one.std) for one in sources.values()] == [((0.0,), (1.0,)), ((0.5,), (1.0,)), ((0.0,), (1.0,))]


def test_a_reduction_that_compares_pictures_is_refused_before_the_first_job():
    reductions = {"alike": {"name": "hash", "distance": 3}, "tenth": {"name": "random", "share": 0.1}}
    content = changed("reductions", reductions)
    content["sources"]["ours"]["reduction"] = "tenth"
    study_config.load(content)
    content["sources"]["ours"]["reduction"] = "alike"
    with pytest.raises(UserError, match="hash compares pictures or slices, but archives"):
        study_config.load(content)


def test_trainings_and_predictions_get_the_patch_in_which_volumes_are_seen():
    pretrain, finetune, predict = told(CONFIG)
    assert (list(pretrain["size"]), finetune["patch"], predict["patch"]) == ([32, 48, 32],) * 3
    assert told(changed("archives.hip.size", 32))[1]["patch"] == [32, 32, 32]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("recipes.full.foreground", 0.5),
        ("recipes.full.deep_supervision", True),
        ("datasets.hip.tolerance", 2.0),
        ("datasets.hip.write_outlines", True),
        *[
            (f"{owner}.views.{key}", value)
            for owner in ("recipes.full", "sources.ours")
            for key, value in {"flip_axes": ["x", "y"], "scaling": 0.1, "low_resolution": 0.1, "elastic": 0.1}.items()
        ],
    ],
)
def test_a_key_of_volumes_reaches_a_job(place, value):
    assert told(changed(place, value)) != told(CONFIG)


def test_writing_outlines_repeats_predictions_only():
    before, after = told(CONFIG), told(changed("datasets.hip.write_outlines", True))
    assert before[:2] == after[:2] and after[2]["write_outlines"]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("recipes.full.views", {"flip_axes": ["y"]}, "recipes.full.views.flip_axes: nothing is flipped"),
        ("recipes.full.views", {"grey": 0.5}, "recipes.full.views.grey: changes pictures only"),
        ("recipes.full.training.reading", "sharded", "full.training.reading: hip holds volumes, which are read in"),
        ("sources.ours.training.reading", "sharded", "ours.training.reading: hip holds volumes, which are read in"),
        ("recipes.full.class_weights", True, "recipes.full.class_weights: structures are not weighted"),
        ("controls", {"shuffled": ["random"]}, "controls.shuffled: an outline of another case fits no image"),
        ("recipes.full.select", "auroc", "recipes.full.select: the task segmentation has no score 'auroc'"),
    ],
)
def test_what_has_no_effect_on_outlines_is_refused(place, value, words):
    with pytest.raises(UserError) as refusal:
        study_config.load(changed(place, value))
    assert words in str(refusal.value)


def test_deep_supervision_of_a_network_without_lower_outputs_is_refused_by_its_name():
    content = changed("recipes.full.deep_supervision", True)
    content["sources"]["random"] = {"backbone": "monai/dynunet_small"}
    why = r"recipes\.full\.deep_supervision: the decoder of monai/dynunet_small has no output between its finest"
    with pytest.raises(UserError, match=why):
        study_config.load(content)
    content["recipes"]["full"]["kind"] = "linear_probe"
    study_config.load(content)


def test_pictures_are_not_outlined():
    content = changed("archives.pictures", {"kind": "chestxray14", "folder": "y"})
    content["datasets"]["pictures"] = {"task": "segmentation"}
    with pytest.raises(UserError, match=r"datasets\.pictures\.task: segmentation needs masks"):
        study_config.load(content)
