"""The SLURM profile fits the rules, and its work-arounds are read again when the plugin changes; needs no SLURM."""

import re

import pytest
import yaml

from workflow_made import ROOT

FOLDER = ROOT / "profiles"
PROFILE = yaml.safe_load((FOLDER / "slurm" / "config.v9+.yaml").read_text())
RULES = "\n".join(file.read_text() for file in sorted((ROOT / "workflow" / "rules").glob("*.smk")))


def trainings() -> set[str]:
    """The rules that ask for a place among the trainings."""
    pieces = re.split(r"^rule (\w+):$", RULES, flags=re.MULTILINE)[1:]
    return {name for name, body in zip(pieces[::2], pieces[1::2], strict=True) if "trainings=1" in body}


def test_every_rule_that_trains_gets_a_gpu_and_no_other():
    given = {rule for rule, resources in PROFILE["set-resources"].items() if "gpu" in resources}
    assert given == trainings() != set()


@pytest.mark.parametrize("word", ["retries", "slurm_account", "slurm_partition", "gpu_model", "runtime"])
def test_nothing_of_one_site_stands_in_a_rule(word: str):
    assert not re.search(rf"\b{word}\b", RULES)


def test_time_and_memory_grow_with_each_attempt():
    records = [PROFILE["default-resources"], *PROFILE["set-resources"].values()]
    sizes = [record[key] for record in records for key in ("mem_mb", "runtime") if key in record]
    assert len(sizes) > 4
    assert all(re.fullmatch(r"\d+ \* attempt", size) for size in sizes)


def test_both_profiles_say_the_same_where_both_speak():
    default = yaml.safe_load((FOLDER / "default" / "config.v9+.yaml").read_text())
    both = default.keys() & PROFILE.keys()
    assert both
    assert {key: default[key] for key in both} == {key: PROFILE[key] for key in both}


def test_the_work_arounds_are_those_of_the_locked_plugin():
    lock = (ROOT / "requirements.lock").read_text()
    version = re.search(r"^snakemake-executor-plugin-slurm==(\S+)", lock, re.MULTILINE)[1]
    assert f"`snakemake-executor-plugin-slurm` {version}," in (FOLDER / "README.md").read_text()
