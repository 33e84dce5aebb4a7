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


def test_rules_that_train_ask_for_gpus_themselves_and_no_profile_does():
    pieces = re.split(r"^rule (\w+):$", RULES, flags=re.MULTILINE)[1:]
    asking = {name for name, body in zip(pieces[::2], pieces[1::2], strict=True) if " gpu=" in body}
    assert asking == trainings() != set()
    assert not [rule for rule, resources in PROFILE["set-resources"].items() if "gpu" in resources]


def test_grouped_trainings_take_turns():
    # a limit of one training per SLURM job, and none over the whole cluster
    assert PROFILE["resources"] == ["trainings=1", "comparing=2"]
    assert PROFILE["set-resource-scopes"] == ["trainings=local", "comparing=local"]
    components = dict(component.split("=") for component in PROFILE["group-components"])
    assert components.keys() == {"predictions_{dataset}", "transports_{dataset}", "probes"}
    assert '"probes"' in RULES
    assert dict(pair.split("=") for pair in PROFILE["groups"])["predict"] == "predictions_{dataset}"


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
