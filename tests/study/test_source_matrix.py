"""A source grid is the same as its sources written out, and a mistake in it is reported once, at its own place."""

import copy

import pytest
import yaml

from headwater.core.errors import UserError
from headwater.study import config as study_config
from workflow_made import ROOT, small_config

EPOCHS, STEPS = {"epochs": 2, "batch": 16}, {"steps": 40, "batch": 16}


def study(**changed) -> dict:
    """A config with one grid: two methods x two reductions x two trainings on one corpus."""
    config = small_config()
    config["reductions"] = {"half": {"name": "every_n", "n": 2}}
    entry = {
        "pattern": "{reduction}_{method}_{corpus}_{training}",
        "methods": {"supervised": None, "small": {"name": "dino", "output_dimension": 64}},
        "corpora": ["photographs"],
        "reductions": ["everything", "half"],
        "trainings": {"epochs": EPOCHS, "steps": STEPS},
        "each": {"views": {"flip": 0.5}, "seed": 3},
    }
    config["source_grids"] = {"less": entry | changed}
    return config


def test_it_stands_for_the_sources_that_one_would_write_down():
    plain = small_config()
    plain["reductions"] = {"half": {"name": "every_n", "n": 2}}
    for method in ("supervised", "small"):
        for reduction in ("everything", "half"):
            for training in ("epochs", "steps"):
                plain["sources"][f"{reduction}_{method}_photographs_{training}"] = {
                    "method": "supervised" if method == "supervised" else {"name": "dino", "output_dimension": 64},
                    "corpus": "photographs",
                    "reduction": reduction,
                    "training": EPOCHS if training == "epochs" else STEPS,
                    "views": {"flip": 0.5},
                    "seed": 3,
                }
    content = study()
    before = copy.deepcopy(content)
    ours = study_config.load(content)
    assert content == before
    by_name = {source.name: source for source in ours.grid().sources}
    assert by_name == {source.name: source for source in study_config.load(plain).grid().sources}
    assert len(by_name) == 2 + 8
    # nothing that is made carries the grid's name: a source written down is the same job
    assert {one.digest for one in by_name.values()} == {one.digest for one in study_config.load(plain).sources.values()}


def test_a_list_of_methods_and_options_under_their_name_will_do():
    config = study(methods=["supervised", "dino"], pattern="{method}_{reduction}_{training}")
    assert study_config.load(config).sources["dino_half_steps"].method.name == "dino"
    config = study(methods={"dino": {"output_dimension": 64}}, pattern="{reduction}_{training}")
    assert study_config.load(config).sources["half_steps"].method.options == {"output_dimension": 64}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"reductions": ["everything", "halv"]}, "reductions.halv: there is no 'halv'; did you mean 'half'?"),
        ({"corpora": ["photograph"]}, "corpora.photograph: there is no 'photograph'; did you mean 'photographs'?"),
        ({"methods": ["supervized"]}, "methods.supervized: methods: there is no 'supervized'; did you mean 'super"),
        ({"each": {"vievs": {}}}, "each.vievs: unknown key; did you mean 'views'?"),
        ({"each": {"start": "nobody"}}, "each.start: there is no 'nobody'"),
        ({"each": {"method": "dino"}}, "each.method: the lists set it; remove it"),
        ({"pattern": "{reduction}_{training}_{corpora}"}, "pattern: there is no {corpora}; did you mean 'corpus'?"),
        ({"pattern": "{reduction}_{training}"}, "pattern: several sources would have one name; add {method}"),
        ({"pattern": "{reduction"}, "pattern: "),
        ({"pattern": "{reduction:>9}_{training}_{method}"}, "names are inserted unformatted (got"),
        ({"pattern": "{reduction} {training} {method}"}, "use letters, digits, _ and - in names"),
        ({"reductions": ["half", "half"]}, "reductions: half is listed 2 times; remove the duplicates"),
        ({"trainings": {"steps": {"stepz": 3}}}, "trainings.steps.stepz: unknown key; did you mean 'steps'?"),
        ({"trainings": {}}, "trainings: "),
        ({"trainingz": {}}, "trainingz: unknown key; did you mean 'trainings'?"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_once_and_where_it_stands(changed, told):
    config = study(**changed)
    with pytest.raises(UserError) as refusal:
        study_config.load(config)
    said = str(refusal.value)
    assert said.count(told) == 1 and "source_grids.less" in said
    assert "sources.everything" not in said and "sources.half" not in said


def test_all_mistakes_are_told_together():
    config = study(reductions=["halv"], corpora=["photograph"], each={"start": "nobody"})
    with pytest.raises(UserError, match="3 mistakes: "):
        study_config.load(config)


def test_a_batch_that_ranks_cannot_share_is_told_of_its_training():
    config = study()
    config["compute"] = {"ranks": 2}
    config["source_grids"]["less"]["trainings"]["steps"] = {"steps": 40, "batch": 15}
    with pytest.raises(UserError, match=r"config: source_grids\.less\.trainings\.steps\.batch: must be a multiple of"):
        study_config.load(config)


def test_a_name_that_is_taken_is_refused():
    config = study(pattern="{method}_{reduction}_{training}")
    config["sources"]["small_half_steps"] = {}
    with pytest.raises(UserError, match=r"^config: source_grids\.less: the name small_half_steps is taken by a source"):
        study_config.load(config)
    config = study()
    config["source_grids"]["again"] = copy.deepcopy(config["source_grids"]["less"])
    with pytest.raises(UserError, match=r"8 mistakes: source_grids\.again: the name everything_supervised"):
        study_config.load(config)


def test_the_example_in_the_readme_is_a_grid():
    text = (ROOT / "config" / "README.md").read_text()
    block = next(part for part in text.split("```yaml") if part.lstrip().startswith("source_grids:"))
    entry = yaml.safe_load(block.partition("```")[0])["source_grids"]["less"]
    config = small_config()
    config["reductions"] = {"hash6": "hash", "as_many": {"name": "random", "like": "hash6"}}
    config["archives"]["ct"] = config["archives"].pop("photographs")
    config["sources"] = {"random": {}}
    config["source_grids"] = {"less": entry}
    names = list(study_config.load(config).sources)
    assert names[1:4] == ["hash6_dino_ct_epochs", "hash6_dino_ct_steps", "as_many_dino_ct_epochs"] and len(names) == 5
