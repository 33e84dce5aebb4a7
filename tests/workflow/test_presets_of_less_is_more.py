"""The presets on reduced corpora of CT: the study as published, ours with the arms that it lacks, and ours on twins."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from headwater.core import registry
from headwater.planning import preflight
from headwater.study import config
from workflow_made import ROOT, planned, snakemake

CONFIGS = ROOT / "config"
OURS, PUBLISHED, TWINS = "less_is_more.yaml", "less_is_more_published.yaml", "examples/less_is_more_twins.yaml"

METHODS = "examples/less_is_more_methods_twins.yaml"

LENGTHS = {"steps", "epochs", "batch", "lr", "warmup_steps", "validations", "optimiser", "final_lr", "weight_decay"}
"""What a training on twins may have of its own."""


def read(name: str) -> config.Config:
    return config.read(CONFIGS / name)


def written(name: str) -> dict:
    """A preset as it is written."""
    return yaml.safe_load((CONFIGS / name).read_text())


@pytest.mark.parametrize(("name", "archives"), [(OURS, 6), (PUBLISHED, 5)])
def test_a_preset_wants_nothing_but_what_its_user_fetches(name, archives):
    plan = read(name)
    missing = preflight.mistakes(plan)
    assert len(plan.archives) == archives and len(missing) == archives + 1
    assert all("there is no such f" in line for line in missing)


def test_the_published_study_is_as_its_code_has_it():
    plan = read(PUBLISHED)
    learned = {name: source for name, source in plan.sources.items() if source.kind == "pretrained"}
    assert len(learned) == 2 * 12 and {source.backbone for source in plan.sources.values()} == {"timm/resnet50"}
    for source in learned.values():
        training, method = source.training, registry.chosen("methods", source.method)
        assert (training.epochs, training.batch, training.lr, training.optimiser) == (800, 128, 0.15, "lars")
        assert (method.prototypes, method.large_crop, method.small_crop) == (500, (0.9, 1.0), (0.1, 0.33))
        assert method.frozen_prototypes == pytest.approx(313 / 800, abs=1e-3) and source.mean == (0.1806,)
    assert {plan.archives[name].window.slice for name in ("lidc", "fdg_petct", "ct_ich")} == {True}
    recipe = plan.recipes["finetune"]
    assert (recipe.training.epochs, recipe.training.batch, recipe.frozen_epochs) == (70, 64, 10)
    assert (recipe.training.lr, recipe.unfrozen_lr, recipe.training.weight_decay) == (1e-4, 2e-5, 5e-4)
    distances = {registry.chosen("reductions", plan.reductions[f"hash{bits}"]).distance for bits in (3, 6, 12)}
    assert distances == {3, 6, 12} and plan.reductions["hash6_whole"].options["per"] == "corpus"


def test_six_methods_are_asked_on_all_slices_on_different_ones_and_on_as_many(tmp_path):
    plan = read(METHODS)
    learned = {(one.method.name, one.reduction) for one in plan.sources.values() if one.kind == "pretrained"}
    asked = ("swav", "moco", "byol", "spark", "mae", "dino")
    assert learned == {(method, kept) for method in asked for kept in ("everything", "hash6", "as_many")}
    jobs = planned(tmp_path, config=written(METHODS))
    assert (jobs["pretrain"], jobs["finetune"], jobs["reduce"]) == (18, 40, 3)


def test_ours_has_what_the_study_lacks():
    plan = read(OURS)
    assert len(plan.seeds) >= 5 and all(archive.window is None for archive in plan.archives.values())
    assert plan.archives["covid_ct"].patients_apart and plan.controls.again and plan.controls.shuffled
    for corpus in ("lidc", "fdg_petct"):
        blind = plan.sources[f"as_many_{corpus}_epochs"]
        assert plan.reductions[blind.reduction].options == {"like": "hash6"}
        for reduction in ("hash6", "as_many", "embedding_tenth"):
            equal = plan.sources[f"{reduction}_{corpus}_steps"].training
            whole = plan.sources[f"everything_{corpus}_epochs"].training
            same = {"steps", "epochs"}
            assert equal.model_dump(exclude=same) == whole.model_dump(exclude=same)
            # of the slices that are trained on, about seven in ten of the archive's
            slices = {"lidc": 243_958, "fdg_petct": 541_439}[corpus]
            assert equal.steps == pytest.approx(whole.epochs * 0.72 * slices / whole.batch, rel=0.01)


def without_lengths(grid: dict) -> dict:
    """A grid of sources without what makes it short."""
    trainings = {name: sorted(set(one) - LENGTHS) for name, one in grid["trainings"].items()}
    return {**grid, "methods": sorted(grid["methods"]), "trainings": trainings}


def test_the_twins_keep_to_the_study():
    study, twins = written(OURS), written(TWINS)
    looks = study["reductions"]["embedding_tenth"] | {"source": "random"}
    assert twins["reductions"] == study["reductions"] | {"embedding_tenth": looks}
    for name, grid in study["source_grids"].items():
        assert without_lengths(grid) == without_lengths(twins["source_grids"][name])
    assert list(twins["source_grids"]) == list(study["source_grids"])
    assert twins["controls"] == study["controls"]
    assert twins["datasets"] == study["datasets"]
    assert twins["recipes"]["finetune"]["views"] == study["recipes"]["finetune"]["views"]
    assert twins["comparison"] == study["comparison"]
    assert list(twins["archives"]) == list(study["archives"])
    assert all(archive["twin"] for archive in twins["archives"].values())


def test_the_twins_are_planned_as_the_whole_study(tmp_path):
    jobs = planned(tmp_path, config=written(TWINS))
    # of each corpus ten reductions for as many epochs, three of them for as many steps; the embedding once
    assert (jobs["reduce"], jobs["embed"], jobs["pretrain"]) == (2 * 10, 2 * 1, 2 * 13)
    assert jobs["finetune"] == 2 * jobs["predict"] == 4 * (1 + 26 + 2) * 2
    assert (jobs["twin"], jobs["prepare"], jobs["report"]) == (6, 6, 1)


@pytest.mark.slow
def test_the_study_ends_in_its_tables_of_reductions_on_twins(tmp_path: Path):
    study = written(TWINS)
    study["seeds"], study["controls"] = [0], {}
    study["datasets"] = {"covid_ct": {}}
    study["source_grids"] = {"epochs": study["source_grids"]["epochs"]}
    study["source_grids"]["epochs"]["corpora"] = ["fdg_petct"]
    study["comparison"]["reference"] = "as_many_fdg_petct_epochs"
    study["source_grids"]["epochs"]["reductions"] = ["everything", "hash3", "hash6", "as_many", "embedding_tenth"]
    study["recipes"]["finetune"]["training"] |= {"steps": 12}
    study["comparison"]["resamples"] = 1000
    study["archives"]["fdg_petct"]["twin"]["cases"] = 200
    study["source_grids"]["epochs"]["trainings"]["epochs"]["epochs"] = 2
    snakemake(tmp_path, config=study, timeout=1200)
    report = tmp_path / "results" / "less_is_more_twins" / "report"
    costs = pd.read_csv(report / "reductions.csv").set_index("source")
    assert len(costs) == 5 and costs[["reduction_seconds", "pretraining_seconds"]].notna().all(axis=None)
    hashed, blind = costs.loc["hash6_fdg_petct_epochs"], costs.loc["as_many_fdg_petct_epochs"]
    assert 0 < hashed["kept"] == blind["kept"] < hashed["images"]
    assert costs["share"].between(0, 1).all() and costs.loc["everything_fdg_petct_epochs", "share"] == 1
    assert (costs["steps"] > 0).all() and costs["features_seconds"].notna().sum() == 1
    found = pd.read_csv(report / "reductions_measured.csv").set_index("source")
    # the study's numbers for its own sources, on a task of its own
    assert found.loc["everything_fdg_petct_epochs", "study_value"] == 0.7751
    assert found.loc["hash6_fdg_petct_epochs", "study_value"] == 0.82992
    assert "Less of the corpus" in (report / "index.html").read_text()
    assert "bits in which hashes may differ" in (report / "reductions_covid_ct.svg").read_text()
