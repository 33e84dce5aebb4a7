"""Products that were made with other settings than the config's are recognised by the record beside them alone."""

import copy
import importlib
import shlex
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import pytest
import yaml

import golden_plan
from headwater.cluster import product_lock, rule_door
from headwater.planning import outdated
from headwater.planning.overview import overview
from headwater.planning.runtime_estimate import Estimate
from headwater.study import config as study_config
from headwater.study import settings
from headwater.study.job_graph import JobGraph
from workflow_made import small_config


def graph_of(config: dict) -> JobGraph:
    return JobGraph(study_config.load(copy.deepcopy(config)))


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The small grid: an empty file for each product, and the records that its jobs write."""
    graph = graph_of(small_config())
    for job in graph.jobs():
        named = graph.named(job.rule, job.wildcards)
        for template in graph.rules[job.rule].products:
            file = tmp_path / template.format_map(named)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        stands_for_all = tmp_path / settings.written(graph, job.rule, named)
        with product_lock.held([stands_for_all], settings=settings.of(graph, job.rule, named), verb=job.rule):
            pass
    return tmp_path


def changed(change: Callable[[dict], object]) -> JobGraph:
    config = small_config()
    change(config)
    return graph_of(config)


def rules_outdated(graph: JobGraph, folder: Path) -> set[str]:
    jobs = list(graph.jobs())
    found = outdated.outdated(graph, jobs, folder=folder)
    return {job.rule for job in jobs if job.product in found}


def test_of_the_same_config_nothing_is_outdated(finished: Path):
    graph = graph_of(small_config())
    assert rules_outdated(graph, finished) == set()
    assert outdated.left_undone(graph, remedy="run again", folder=finished) == []
    assert outdated.to_be_replaced(graph, list(graph.jobs()), folder=finished) == set()


OF_ALL_RUNS = {"compare", "examine", "report"}

CHANGES = [
    (lambda config: config.update(seeds=[0, 1, 2]), {"predict", *OF_ALL_RUNS}, "seeds: made with [0, 1], the config"),
    (
        lambda config: config["comparison"].update(metrics=["auroc", "average_precision"]),
        OF_ALL_RUNS,
        "comparison.metrics: made with the default, the config says ['auroc', 'average_precision']",
    ),
    (
        lambda config: config["archives"]["chestxray14"].update(size=48),
        {"prepare", "report"},
        "archives.chestxray14.size: made with 32, the config says 48",
    ),
    (
        lambda config: config["archives"]["chestxray14"]["twin"].update(cases=200),
        {"twin", "prepare", "report"},
        "archives.chestxray14.twin.cases: made with 160, the config says 200",
    ),
    (
        lambda config: config["archives"]["photographs"].update(size=40),
        {"prepare", "pretrain", "report"},
        "archives.photographs.size: made with 32, the config says 40",
    ),
    (
        lambda config: config["sources"]["photographs"]["training"].update(steps=41),
        {"pretrain", "finetune", "predict", *OF_ALL_RUNS},
        "sources.photographs.training.steps: made with 40, the config says 41",
    ),
    (
        lambda config: config["sources"].update(more={}),
        OF_ALL_RUNS,
        "sources.more: made with nothing of that name, the config says name",
    ),
]


@pytest.mark.parametrize(("change", "rules", "said"), CHANGES, ids=[said for _, _, said in CHANGES])
def test_a_change_is_recognised_where_it_matters_and_told(finished: Path, change: Callable, rules: set[str], said: str):
    graph = changed(change)
    assert rules_outdated(graph, finished) == rules
    lines = outdated.left_undone(graph, remedy="run again", folder=finished)
    assert lines[0].startswith(f"results/report/index.html: {said}") and lines[0].endswith("; run again")
    assert lines[-1].startswith("the products of ") and all(f" {rule}" in lines[-1] for rule in rules)


def test_ranks_trackers_and_workers_outdate_nothing(finished: Path):
    compute = {"ranks": 4, "nodes": 2, "threads": 3, "device": "cpu", "workers": 7}
    graph = changed(lambda config: config.update(compute=compute, tracking={"wandb": "offline"}))
    assert rules_outdated(graph, finished) == set()


def test_a_product_without_a_record_is_left_to_snakemake(finished: Path):
    for record in finished.rglob(".*.made.json"):
        record.unlink()
    assert rules_outdated(changed(CHANGES[0][0]), finished) == set()


def test_a_missing_report_is_told(finished: Path):
    graph = graph_of(small_config())
    (finished / graph.paths.page()).unlink()
    assert outdated.left_undone(graph, remedy="run again", folder=finished) == [
        "results/report/index.html: there is no report; run again"
    ]


def test_what_is_replaced_is_all_that_rests_on_what_is_outdated(finished: Path):
    graph = changed(lambda config: config["archives"]["chestxray14"].update(size=48))
    jobs = list(graph.jobs())
    products = outdated.to_be_replaced(graph, jobs, folder=finished)
    replaced = {job.title for job in jobs if job.product in products}
    # the photographs, their encoder and the twin stay; a new ledger repeats no pre-training
    assert replaced == {job.title for job in jobs} - {
        "twin chestxray14",
        "prepare photographs",
        "reduce photographs/everything",
        "pretrain photographs",
    }
    seconds = {job.product: 1800.0 for job in jobs if job.rule == "finetune"}
    estimate = Estimate(jobs=jobs, finished=seconds, each={("predict", "unknown"): 1.0}, from_profile=set())
    said = outdated.replaced(estimate, products)
    assert "the finished products of 11 jobs: 1 prepare, 1 ledger, 4 finetune (2:00:00 of work), 2 predict" in said
    assert outdated.replaced(estimate, set()) == ""


def test_the_plan_says_what_is_replaced(finished: Path, capsys: pytest.CaptureFixture):
    file, config = finished / "config.yaml", small_config()
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    overview(file, folder=finished)
    assert "replaced" not in capsys.readouterr().out
    config["archives"]["chestxray14"]["size"] = 48
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    overview(file, folder=finished)
    said = " ".join(capsys.readouterr().out.split())
    assert "Made again, and replaced: the finished products of 11 jobs: 1 prepare, 1 ledger, 4 finetune" in said


def every_rule() -> dict:
    """A config whose plan has jobs of every rule."""
    config = small_config()
    config["archives"]["frontal"] = {"images_of": "chestxray14", "projections": ["PA"]}
    config["archives"]["german"] = {"kind": "uka_cxr", "folder": "german", "size": 32, "twin": {"cases": 60}}
    config["datasets"] |= {"frontal": config["datasets"]["chestxray14"], "german": {}}
    config["reductions"] = {"looks": {"name": "embedding", "source": "published", "share": 0.5}}
    config["sources"]["published"] = {
        "backbone": "timm/resnet50",
        "weights": {"layout": "torchvision", "path": "weights.pth"},
    }
    config["sources"]["fewer"] = config["sources"]["photographs"] | {"reduction": "looks"}
    config["comparison"]["external"] = True
    config["tracking"] = {"wandb": "disabled", "also": ["tensorboard"]}
    return config


def of_volumes() -> dict:
    """A config whose plan has jobs of every rule that volumes go through."""
    config = small_config()
    organ = {"kind": {"name": "msd", "structures": ["shell", "core"]}, "folder": "organ", "size": [24, 24, 16]}
    config["archives"] = {"organ": organ | {"twin": {"cases": 12, "size": 32}}}
    config["backbone"] = "monai/segresnet"
    learned = {"method": "simclr", "corpus": "organ", "training": {"steps": 2, "batch": 2}}
    config["sources"] = {"random": {"mean": [0.0], "std": [1.0]}, "learned": {**learned, "mean": [0.0], "std": [1.0]}}
    config["datasets"] = {"organ": {"task": "segmentation", "write_outlines": True}}
    config["recipes"]["finetune"]["select"] = "dice"
    config["comparison"]["metrics"] = ["dice"]
    return config


def arguments_of(command: str) -> tuple[str, list[str]]:
    """The verb of a job's command and the arguments that it gets, without what the shell does with its output."""
    words = shlex.split(command)
    verb = next(word for word in reversed(words) if word.endswith(".py") and not word.endswith("launch.py"))
    rest = words[words.index(verb) + 1 :]
    end = min(rest.index(sign) for sign in (">", "2>&1", "|") if sign in rest)
    return Path(verb).stem, rest[:end]


@pytest.mark.slow
def test_the_record_of_every_rule_is_what_the_config_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(golden_plan, "OF_THE_MACHINE", ())
    checked = set()
    for name, config in (("pictures", every_rule()), ("volumes", of_volumes())):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        checked |= checked_rules(config, tmp_path / name)
    assert checked == set(settings.SETTINGS)


def checked_rules(config: dict, folder: Path) -> set[str]:
    """The rules whose jobs record what the config says."""
    Path("config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    Path("weights.pth").touch()
    graph = graph_of(config)
    checked = set()
    for job in golden_plan._planned(folder):
        if job.rule.name == "all":
            continue
        verb, arguments = arguments_of(job.shellcmd)
        stage = getattr(importlib.import_module(f"headwater.stages.{verb}"), verb)
        rule_door.door(wraps(stage)(lambda *_, **__: None), arguments)
        named = dict(job.wildcards_dict)
        assert product_lock.settings_of(settings.written(graph, job.rule.name, named)) == settings.of(
            graph, job.rule.name, named
        ), job
        checked.add(job.rule.name)
    return checked
