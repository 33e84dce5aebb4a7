"""Titles and short names: what they change, what they must not, and which are refused."""

import copy

import pytest

from headwater.core.errors import UserError
from headwater.study import config as study_config
from workflow_made import small_config

D, S = "chestxray14", "random"


def worded(**changes) -> dict:
    config = copy.deepcopy(small_config())
    config["sources"][S] = {**(config["sources"][S] or {}), "title": "Random start", "short": "Random"}
    config["datasets"][D] = {**(config["datasets"][D] or {}), "title": "ChestX-ray14", "short": "CXR14"}
    recipe = next(iter(config["recipes"].values()))
    recipe |= {"title": "Full fine-tuning"}
    config["labels"] = {"Cardiomegaly": {"title": "Enlarged heart", "short": "Heart"}}
    config["controls"] = {"again": [S]}
    return config | changes


def test_no_run_depends_on_what_it_is_called():
    plain = worded(labels={})
    for section in ("sources", "datasets", "recipes"):
        for entry in plain[section].values():
            for key in ("title", "short"):
                (entry or {}).pop(key, None)
    named, unnamed = study_config.load(worded()).grid(), study_config.load(plain).grid()
    for dataset in named.datasets:
        pairs = zip(named.runs(dataset.name), unnamed.runs(dataset.name), strict=True)
        assert all(one.digest == other.digest and one.as_json() == other.as_json() for one, other in pairs)
        assert named.comparison(dataset.name).digest == unnamed.comparison(dataset.name).digest
    # a grid that has no words is written as before there were any
    assert "wording" not in unnamed.as_json() and "wording" in named.as_json()


def test_words_reach_the_report_through_the_grid_and_controls_are_called_after_their_source():
    grid = study_config.load(worded()).grid()
    again = type(grid).from_json(grid.as_json()).wording
    assert again == grid.wording
    assert (again.title("sources", S), again.short("sources", S)) == ("Random start", "Random")
    assert (again.title("sources", f"{S}_again"), again.short("sources", f"{S}_again")) == (
        "Random start, again",
        "Random, again",
    )
    # short is the title where there is none, and the title the name
    assert again.short("recipes", next(iter(again.recipes))) == "Full fine-tuning"
    assert again.title("labels", "Mass") == again.short("labels", "Mass") == "Mass"


@pytest.mark.parametrize(
    ("section", "name", "words", "said"),
    [
        ("sources", S, {"title": "a\u200bb"}, "sources.random.title: "),
        ("sources", S, {"short": "x" * 25}, "has 25 characters; use at most 24"),
        ("sources", S, {"title": "Chance"}, "is what chance is called"),
        ("sources", S, {"title": "Photographs"}, "is what"),
        ("labels", "Cardiomegaly", {"title": "macro"}, "is what macro is called"),
    ],
)
def test_words_that_no_reader_could_tell_apart_are_refused(section, name, words, said):
    config = worded()
    config[section][name] = {**(config[section][name] or {}), **words}
    with pytest.raises(UserError) as refusal:
        study_config.load(config)
    assert said in str(refusal.value)


def test_words_of_a_label_that_no_dataset_has_are_refused_with_the_likely_one():
    config = worded(labels={"Cardiomegali": {"title": "Enlarged heart"}})
    config["datasets"][D]["labels"] = ["Cardiomegaly", "Mass"]
    with pytest.raises(UserError, match="did you mean 'Cardiomegaly'"):
        study_config.load(config)
