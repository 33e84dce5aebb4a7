"""The planning benchmark: its studies have the runs that they say, and its numbers come from real dry runs."""

import importlib.util
import re
import sys
from math import prod
from pathlib import Path

import pytest

from headwater.planning import preflight
from headwater.study import config as study_config

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "planning.py"


@pytest.fixture(scope="module")
def planning():
    specification = importlib.util.spec_from_file_location("planning", BENCHMARK)
    module = importlib.util.module_from_spec(specification)
    sys.modules["planning"] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules["planning"]


def test_each_study_is_a_valid_config_with_so_many_times_the_runs_of_the_first(planning):
    smallest = prod(planning.SHAPES[1])
    assert smallest == 4 * 9 * 5
    for times, shape in planning.SHAPES.items():
        config = study_config.load(planning.study(*shape))
        preflight.check(config)
        grid = config.grid()
        runs = [run.path for dataset in grid.datasets for run in grid.runs(dataset.name)]
        assert len(set(runs)) == len(runs) == times * smallest


def test_every_run_of_a_study_is_planned_by_both_ways(planning, tmp_path, monkeypatch):
    monkeypatch.setitem(planning.SHAPES, 1, (2, 2, 1))
    found = planning.measured(1, rounds=1, folder=tmp_path)
    # two archives: twin, prepare, compare, examine each; one source's reduction and pre-training; ledger, report, all
    assert found["ours"]["jobs"] == 2 * 2 * 2 + 2 * 4 + 2 + 3
    # the bare Snakefile prepares and compares both, pre-trains both, reports
    assert found["bare Snakefile"]["jobs"] == 2 * 2 * 2 + 2 * 3 + 1
    assert all(0 < ways["seconds"] < 60 and ways["mebibytes"] > 10 for ways in found.values())


def test_a_plan_that_fails_is_not_timed(planning, tmp_path):
    with pytest.raises(SystemExit, match="failed"):
        planning.timed(["-n", "--snakefile", str(tmp_path / "none.smk")])


def test_the_verdict_tells_growth_from_the_start(planning):
    found = {
        1: {"ours": {"seconds": 2.0, "jobs": 400}, "bare Snakefile": {"seconds": 1.0, "jobs": 400}},
        10: {"ours": {"seconds": 6.0, "jobs": 4400}, "bare Snakefile": {"seconds": 3.0, "jobs": 4400}},
    }
    said = planning.verdict(found)
    assert re.search(r"2\.00 s .* each further job: 1\.00 ms .* bare Snakefile's: 0\.50 ms", said)
    assert said.endswith("11.0 times the jobs take 3.0 times as long")
