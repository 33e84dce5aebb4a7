"""Values of single keys from the command line: checked like the file, and nothing else changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from snakemake.cli import parse_config

from headwater import cli
from headwater.core.errors import UserError
from headwater.study import config as study_config
from headwater.study import overrides

CHECKOUT = Path(__file__).parents[2]

DEMO = CHECKOUT / "config" / "config.yaml"


def content() -> dict:
    return {
        "seeds": [0],
        "archives": {"vindr": {"folder": "/v"}},
        "sources": {
            "random": {},
            "dino": {"method": "dino", "corpus": "vindr", "training": {"steps": 10, "lr": 1e-4}},
            "dino_v2": {"method": "dino", "corpus": "vindr", "training": {"steps": 10}},
        },
        "datasets": {"vindr": {}},
        "recipes": {"finetune": {"training": {"steps": 10}}},
        "comparison": {"reference": "random"},
    }


def with_set(text: str) -> study_config.Config:
    return study_config.load({**content(), "set": text})


def test_a_key_of_any_depth_takes_another_value_and_nothing_else_changes():
    before, after = study_config.load(content()), with_set("sources.dino.training.lr=1e-3; seeds=[3, 4]")
    assert after.sources["dino"].training.lr == 1e-3
    assert after.seeds == (3, 4)
    assert after.sources["dino_v2"] == before.sources["dino_v2"]
    assert after.recipes == before.recipes


def test_the_file_could_have_said_the_same():
    said = content()
    said["sources"]["dino"]["training"]["lr"] = 1e-3
    assert study_config.load(said).grid().digest == with_set("sources.dino.training.lr=0.001").grid().digest


def test_what_an_anchor_shares_changes_in_one_place_only():
    shared = {"steps": 10}
    given = {**content(), "recipes": {"one": {"training": shared}, "two": {"training": shared}}}
    plan = study_config.load({**given, "set": "recipes.two.training.steps=20"})
    assert (plan.recipes["one"].training.steps, plan.recipes["two"].training.steps) == (10, 20)
    assert shared == {"steps": 10}


def test_a_section_that_the_file_leaves_out_can_be_set():
    assert with_set("compute.ranks=2").compute.ranks == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sources.dinoo.training.lr=1", "set: sources has no dinoo; did you mean 'dino'?"),
        ("sources.dino.method.momentum=1", "set: sources.dino.method has no keys of its own"),
        ("sources.dino.training.lrr=1", "did you mean 'lr'?"),
        ("sources.dino.training.lr=-1", "sources.dino.training.lr"),
        ("seeds", "set: 'seeds' is no assignment; write KEY=VALUE"),
        ("seeds=[0", "set: seeds: '[0' is no YAML"),
        ("seeds=[010]", "set: seeds: line 1: YAML takes 010 for 8"),
        ("recipes.finetune.training={steps: 1, steps: 2}", "steps stands in line 1 already"),
        ("sources.dino.=1", "set: 'sources.dino.=1' is no assignment"),
        ("seeds=[0]\nresults=x", "is no assignment"),
        ("seedz=[0]", "did you mean 'seeds'?"),
    ],
)
def test_a_mistake_is_refused_in_one_line(text: str, said: str):
    with pytest.raises(UserError) as refusal:
        with_set(text)
    assert said in str(refusal.value)


def test_what_yaml_takes_for_a_mapping_is_written_without_spaces():
    with pytest.raises(UserError, match="no space behind colons"):
        study_config.load({**content(), **parse_config(["set=sources.dino.method={name: mae}"])})
    dense = parse_config(['set=sources.dino.method={"name":"mae"}'])
    assert study_config.load({**content(), **dense}).sources["dino"].method.name == "mae"


def test_what_one_command_hands_to_another_is_what_it_was_given(tmp_path: Path):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(content(), sort_keys=False))
    with overrides.given(["sources.dino.method={name: mae}", "seeds=[0, 1]"]):
        (option, word), here = overrides.for_snakemake(), study_config.read(file)
    assert option == "--config"
    there = study_config.load({**content(), **parse_config([word])})
    assert there.grid().digest == here.grid().digest != study_config.read(file).grid().digest


@pytest.mark.parametrize(
    "assignments",
    [["archives.vindr.folder=/w; seeds=[5]"], ["archives.vindr.folder=/ä ; results=other", "seeds=[1]"], ["seeds=[2]"]],
)
def test_a_command_and_the_snakemake_that_it_starts_read_alike(tmp_path: Path, assignments: list[str]):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(content(), sort_keys=False))
    with overrides.given(assignments):
        (_, word), here = overrides.for_snakemake(), study_config.read(file)
    assert study_config.load({**content(), **parse_config([word])}) == here


def test_an_option_behind_a_missing_assignment_is_kept():
    assert overrides.taken_from(["plan", "--set", "--config", "x"]) == (["plan", "--config", "x"], [""])


@pytest.mark.parametrize("words", [["--set", "seeds=[0]"], ["--set=seeds=[0]"]])
def test_the_option_may_stand_anywhere(words: list[str]):
    assert overrides.taken_from(["plan", *words, "study.yaml"]) == (["plan", "study.yaml"], ["seeds=[0]"])


def test_a_plan_is_made_with_the_values(capsys: pytest.CaptureFixture):
    counted = []
    for words in ([], ["--set", "seeds=[0, 1, 2, 3, 4, 5, 6]"]):
        cli.main(["plan", "--config", str(DEMO), *words])
        counted.append(capsys.readouterr().out)
    assert counted[0] != counted[1]
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", "--config", str(DEMO), "--set", "recipes.fine.training.lr=1"])
    assert ended.value.code == 2
    assert "set: recipes has no fine" in capsys.readouterr().err


@pytest.mark.slow
def test_snakemake_works_by_them(tmp_path: Path):
    shutil.copy(DEMO, tmp_path)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(CHECKOUT / "Snakefile"),
        "-n",
        "--configfile",
        "config.yaml",
    ]
    command += ["--config", f"set=results={tmp_path.name}; seeds=[7]"]
    planned = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert f"{tmp_path.name}/runs" in planned.stdout and "seed7" in planned.stdout and "seed0" not in planned.stdout
