"""The presets: each is a valid study, the twins of one keep to it, and the plan of the study runs to its report."""

import copy
from pathlib import Path

import pytest
import yaml

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.planning import preflight
from headwater.study import config, label_map
from workflow_made import ROOT, planned, snakemake

CONFIGS = ROOT / "config"
OURS, PUBLISHED, TWINS = "chest_xray.yaml", "chest_xray_published.yaml", "examples/chest_xray_twins.yaml"
STANDS_IN = {"imagenet21k": "photographs_supervised", "dinov2": "photographs_dino"}
"""Sources of the study that need a download, and what the twins have instead."""

LABELS = {"vindr": 11, "chestxray14": 13, "chexpert": 10, "mimic_cxr": 10, "uka_cxr": 9, "padchest": 17}
"""How many labels the published study has; of ChestX-ray14 one more, No Finding, which is no label here."""

LENGTHS = {"steps", "batch", "lr", "warmup_steps", "validations"}
"""What a training on twins may have of its own."""


def read(name: str) -> config.Config:
    return config.read(CONFIGS / name)


def in_twins(name: str) -> str:
    """What a source of the study is called on twins."""
    return STANDS_IN.get(name, name)


@pytest.mark.parametrize("name", [OURS, PUBLISHED])
def test_a_preset_wants_nothing_but_what_its_user_fetches(name):
    plan = read(name)
    folders = [
        f"{one.folder}: there is no such folder; correct archives.{key}.folder" for key, one in plan.archives.items()
    ]
    files = [
        f"{one.weights.path}: there is no such file; correct sources.{key}.weights.path"
        for key, one in plan.sources.items()
        if one.weights
    ]
    assert len(folders) == 6 and len(files) == 2
    assert preflight.mistakes(plan) == [*folders, *files]


@pytest.mark.parametrize("name", [OURS, PUBLISHED])
def test_a_dry_run_says_in_a_line_each_what_is_missing(name, tmp_path):
    process = snakemake(tmp_path, "-n", config=yaml.safe_load((CONFIGS / name).read_text()), check=False)
    first, *said = process.stderr[process.stderr.index("headwater:") :].splitlines()[:9]
    assert process.returncode != 0 and first == "headwater: 8 mistakes:" and len(said) == 8
    assert all(line.startswith("  ") and "; correct " in line for line in said)
    assert any("correct archives.padchest.folder" in line for line in said)
    assert any("correct sources.dinov2.weights.path" in line for line in said)
    assert "Traceback" not in process.stderr + process.stdout


@pytest.mark.parametrize("name", [OURS, PUBLISHED])
def test_projections_and_sizes_are_the_published_ones(name):
    archives = read(name).archives
    assert set(archives["mimic_cxr"].projections) == {"PA", "AP"}
    assert set(archives["padchest"].projections) == {"PA", "AP", "AP_horizontal"}
    assert {"PA", "AP"} <= set(archives["chexpert"].projections) <= {"PA", "AP", "LL", "RL"}
    assert {archive.size for archive in archives.values()} == {224}
    assert not any(archives[kind].projections for kind in ("vindr", "chestxray14", "uka_cxr"))


def test_the_published_protocol_is_that_of_its_code():
    plan = read(PUBLISHED)
    recipe, mimic = plan.recipes["finetune"], plan.sources["mimic_supervised"]
    for training in (recipe.training, mimic.training):
        assert (training.optimiser, training.lr, training.schedule) == ("adamw", 1e-5, "constant")
        assert (training.weight_decay, training.batch, training.precision) == (0, 30, "fp32")
    assert (recipe.views.flip, recipe.views.rotation, recipe.class_weights, recipe.select) == (0.5, 7, True, "loss")
    assert (mimic.corpus, mimic.start, mimic.method.options) == ("mimic_cxr", "imagenet21k", {"class_weights": True})
    assert {name: len(dataset.labels) for name, dataset in plan.datasets.items()} == LABELS
    assert {archive.resize for archive in plan.archives.values()} == {"squash"}
    assert plan.comparison.method == "published" and len(plan.seeds) == 1


def test_the_published_study_has_other_patches_and_ours_one_backbone():
    assert {source.backbone for source in read(OURS).sources.values()} == {"timm/vit_base_patch16_224"}
    assert read(PUBLISHED).sources["dinov2"].backbone == "timm/vit_base_patch14_dinov2"


def test_both_studies_ask_for_the_same_labels_and_ours_flips_no_side():
    assert read(OURS).datasets == read(PUBLISHED).datasets
    assert any("_left" in label for label in read(OURS).datasets["uka_cxr"].labels)
    assert read(OURS).recipes["finetune"].views.flip == 0 and len(read(OURS).seeds) >= 5


def test_our_shared_labels_are_the_same_findings_and_the_published_ones_are_its_lists():
    ours, published = (read(name).comparison.subsets["shared_with_mimic"] for name in (OURS, PUBLISHED))
    for name, labels in ours.items():
        same = label_map.shared(name, "mimic_cxr")
        assert labels == tuple(label for label in read(OURS).datasets[name].labels if label in same)
    # of ChestX-ray14 one fewer, No Finding; of UKA-CXR three more, a side each
    assert {name: len(labels) for name, labels in published.items()} == {
        "vindr": 8, "chestxray14": 7 - 1, "uka_cxr": 5 + 3, "padchest": 7
    }  # fmt: skip


def test_labels_are_spelt_as_the_archives_spell_them():
    for name, dataset in read(OURS).datasets.items():
        assert set(dataset.labels) <= set(registry.load("datasets", name).CARD.labels)


def apart(plan: config.Config, twins: config.Config) -> list[str]:
    """In which sections the twins are laid out otherwise than the study that they stand for."""
    declared = plan.comparison.model_copy(update={"reference": in_twins(plan.comparison.reference)})
    controls = {control: [in_twins(name) for name in names] for control, names in plan.controls}
    alike = {
        "archives": _archives(plan) == {name: one for name, one in _archives(twins).items() if name in plan.archives},
        "sources": [in_twins(name) for name in plan.sources] == list(twins.sources),
        "controls": controls == {control: list(names) for control, names in twins.controls},
        "datasets": plan.datasets == twins.datasets,
        "recipes": _recipes(plan) == _recipes(twins),
        "comparison": declared == twins.comparison,
        "seeds": plan.seeds == twins.seeds,
    }
    return [section for section, same in alike.items() if not same]


def _archives(plan: config.Config) -> dict:
    """Archives without what makes a twin of one."""
    return {name: one.model_dump(exclude={"folder", "size", "twin"}) for name, one in plan.archives.items()}


def _recipes(plan: config.Config) -> dict:
    """Recipes without how long and how fast they run."""
    return {name: one.model_dump(exclude={"training": LENGTHS}) for name, one in plan.recipes.items()}


def test_the_twins_keep_to_the_study():
    assert apart(read(OURS), read(TWINS)) == []
    assert all(one.twin for name, one in read(TWINS).archives.items() if name in read(OURS).archives)
    assert not any(source.weights for source in read(TWINS).sources.values())


CHANGES = {
    "archives": lambda study: study["archives"]["padchest"].update(projections=["PA"]),
    "sources": lambda study: study["sources"].update(more={}),
    "controls": lambda study: study["controls"].update(again=["random"]),
    "datasets": lambda study: study["datasets"]["vindr"]["labels"].pop(),
    "recipes": lambda study: study["recipes"]["finetune"].update(class_weights=True),
    "comparison": lambda study: study["comparison"].update(margin=0.02),
    "seeds": lambda study: study["seeds"].pop(),
}


@pytest.mark.parametrize("section", CHANGES)
def test_twins_that_drift_are_found_out(section):
    study = copy.deepcopy(yaml.safe_load((CONFIGS / TWINS).read_text()))
    CHANGES[section](study)
    assert apart(read(OURS), config.load(study)) == [section]


def test_the_twins_are_planned_as_the_whole_study(tmp_path):
    jobs = planned(tmp_path, config=yaml.safe_load((CONFIGS / TWINS).read_text()))
    assert (jobs["twin"], jobs["prepare"], jobs["pretrain"], jobs["compare"], jobs["report"]) == (6, 7, 3, 6, 1)
    assert jobs["examine"] == 6
    assert jobs["finetune"] == 5 * jobs["predict"] == 6 * (4 + 2) * 5
    assert (jobs["transport"], jobs["cross"]) == (6 * 4, 6)


def reduced() -> dict:
    """The twins' study on two smaller ones of its archives, with three sources, one seed and few steps."""
    study = yaml.safe_load((CONFIGS / TWINS).read_text())
    study["seeds"], study["controls"] = [0], {}
    del study["sources"]["photographs_dino"]
    for name, cases in (("mimic_cxr", 700), ("padchest", 500)):
        study["archives"][name]["twin"]["cases"] = cases
    study["datasets"] = {name: study["datasets"][name] for name in ("mimic_cxr", "padchest")}
    study["comparison"] |= {"resamples": 1000, "subsets": {}}
    for one in (*study["sources"].values(), *study["recipes"].values()):
        one.get("training", {}).update(steps=8, batch=16, warmup_steps=2)
    return study


@pytest.mark.slow
def test_the_study_ends_in_its_report_on_twins(tmp_path: Path):
    study = reduced()
    snakemake(tmp_path, config=study, timeout=1200)
    report = tmp_path / "results" / "chest_xray_twins" / "report"
    page = (report / "index.html").read_text()
    for name in study["datasets"]:
        assert f"dataset-{name}" in page and (report / f"labelwise_{name}.csv").stat().st_size > 200
    assert "mimic_supervised was pre-trained on training images of mimic_cxr" in page
    assert "Tested elsewhere" in page and "(home, " in (report / "crossed.md").read_text()
    assert "Projection AP_horizontal" in (report / "characteristics.md").read_text()
    assert "Synthetic data: no clinical meaning" in page


def test_a_label_in_the_spelling_of_another_archive_is_refused():
    study = yaml.safe_load((CONFIGS / TWINS).read_text())
    labels = study["datasets"]["padchest"]["labels"]
    labels[labels.index("emphysema")] = "Emphysema"
    with pytest.raises(UserError, match="padchest has no 'Emphysema'; did you mean 'emphysema'"):
        preflight.check(config.load(study))
