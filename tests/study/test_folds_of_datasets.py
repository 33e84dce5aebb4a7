"""Datasets in folds: their runs, jobs and parts of the ledger, what other datasets keep, and what is refused."""

import copy

import pytest

from headwater.core.errors import UserError
from headwater.study import config as study_config
from headwater.study.job_graph import JobGraph
from headwater.study.leaks import is_leak
from test_every_key import put
from workflow_made import small_config

OWN = {"archives.own": {"kind": "own_folder", "folder": "own", "size": 32}, "datasets.own": {"splits": {"folds": 3}}}


def config(changes: dict | None = None, *, alone: bool = True) -> study_config.Config:
    """The small config with a dataset in folds, alone or beside one with a test split."""
    content = small_config()
    if alone:
        del content["datasets"]["chestxray14"], content["archives"]["chestxray14"]
        del content["comparison"]["resamples"]
    return study_config.load(put(content, copy.deepcopy(OWN | (changes or {}))))


def test_runs_are_crossed_with_folds_and_each_fold_has_draws_of_its_own():
    grid = config().grid()
    runs = list(grid.runs("own"))
    assert len(runs) == 3 * 2 * 2 and len({run.digest for run in runs}) == len(runs)
    assert runs[0].path == "own.fold0/random/finetune/seed0" and runs[-1].path == "own.fold2/photographs/finetune/seed1"
    of_seed = {run.dataset.name: run for run in runs if (run.source.name, run.seed) == ("random", 0)}
    assert len({run.stream for run in of_seed.values()}) == len({run.drawn_under for run in of_seed.values()}) == 3
    # the same for every source, so that sources are paired
    assert {run.stream for run in runs if run.dataset.name == "own.fold1" and run.seed == 0} == {
        of_seed["own.fold1"].stream
    }
    assert grid.run("own.fold2", "random", "finetune", "1") == next(
        run for run in runs if run.path == "own.fold2/random/finetune/seed1"
    )
    assert runs[5].dataset.fold.number == 1 and grid.dataset("own").fold is None


def test_other_datasets_keep_their_runs_comparisons_and_jobs():
    alone = study_config.load(small_config())
    mixed = config(alone=False)
    for of in (lambda grid: [run.as_json() for run in grid.runs("chestxray14")],
               lambda grid: grid.comparison("chestxray14").as_json()):  # fmt: skip
        assert of(alone.grid()) == of(mixed.grid())
    assert alone.grid().runs("chestxray14").__next__().stream == 0
    products = {job.product for job in JobGraph(mixed).jobs()}
    assert {job.product for job in JobGraph(alone).jobs()} <= products
    # a comparison over folds knows the share of patients that a recipe learns from
    less = config({"recipes.finetune.fraction": 0.5}, alone=False).grid()
    assert less.comparison("own").fractions == {"finetune": 0.5} and not less.comparison("chestxray14").fractions
    # of folds nothing is examined; a network of each is fitted, and asked of its own fold
    assert "results/comparisons/chestxray14.calibration.parquet" in products
    assert "results/comparisons/own.parquet" in products
    assert "results/comparisons/own.calibration.parquet" not in products


def test_the_graph_of_folds_alone_compares_but_does_not_examine():
    graph = JobGraph(config())
    rules = [job.rule for job in graph.jobs()]
    assert (rules.count("finetune"), rules.count("predict"), rules.count("compare")) == (12, 6, 1)
    assert "examine" not in rules
    compared = graph.compare("own")
    assert compared["labels"] == "results/archives/own/cases.parquet" and len(compared["predictions"]) == 12
    assert "calibration" in graph.report() and not graph.report()["calibration"]


def test_the_folds_of_an_archive_are_parts_of_the_ledger_that_must_all_be_apart():
    parts = config().grid().overlaps.parts
    assert parts == ["own fold0", "own fold1", "own fold2", "photographs train"]
    assert is_leak("own fold0", "own fold1") and is_leak("photographs train", "own fold2")
    assert not is_leak("own fold0", "own fold0")
    # what stands beside test splits is as it was
    assert is_leak("one train", "two test") and is_leak("one test", "one validation")
    assert not is_leak("one test", "two test") and not is_leak("one train", "two validation")
    excuse = {"kind": "patients", "between": ["photographs train", "own fold2"], "reason": "they are not the same"}
    assert config({"leaks.excused": [excuse]}).leaks.excused


OFFICIAL = {"archives.more": {"kind": "vindr", "folder": "more"}, "datasets.more": {"splits": {"folds": 5}}}
TWICE = {"datasets.again": {"archive": "own", "splits": {"folds": 4}}}
LONG = {f"datasets.{'o' * 57}": {"archive": "own", "splits": {"folds": 3}}}
SECOND = {"archives.second": {"images_of": "own"}, "datasets.second": {"splits": {"folds": 3}}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"datasets.own.splits.folds": 1}, r"own.splits.folds: Input should be greater than or equal to 2 \(got 1\)"),
        ({"datasets.own.splits.folds": 21}, r"own.splits.folds: Input should be less than or equal to 20 \(got 21\)"),
        ({"datasets.own.splits": 5}, r"datasets.own.splits: must say what it counts; write \{folds: 5\} \(got 5\)"),
        ({"datasets.own.splits": {}}, "datasets.own.splits.folds: missing; give it a value"),
        ({"datasets.own.write_outlines": True}, "write_outlines: outlines are not written of datasets in folds"),
        ({"sources.photographs.corpus": "own"}, "photographs.corpus: its encoder would have seen cases of own, which"),
        ({"comparison.method": "percentile"}, "comparison.method: datasets.own is in folds, which percentile cannot"),
        ({"comparison.correction": "max_t"}, "comparison.correction: datasets.own is in folds, which max_t cannot"),
        ({"comparison.external": True}, "comparison.external: datasets.own is in folds, whose networks are tested on"),
        ({"comparison.resamples": 500}, "comparison.resamples: all datasets are in folds, and no test split needs it"),
        ({"comparison.pairing": "nested"}, "comparison.pairing: all datasets are in folds"),
        ({"leaks.resolve": {"patients": "drop_from_training"}}, "leaks.resolve: datasets.own is in folds, whose cases"),
        (OFFICIAL, "datasets.more.splits: vindr has an official test split; remove it"),
        (TWICE, "datasets.own.splits: datasets.again has the same images and other splits; give both the same"),
        (SECOND, "datasets.second.splits: second is a second reading of own, which folds cannot be of; remove it"),
        (LONG, "fold2 has 63 characters; use at most 60"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_folds_is_said_in_one_line(changes, said):
    with pytest.raises(UserError, match=said):
        config(changes)
