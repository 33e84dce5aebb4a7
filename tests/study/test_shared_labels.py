"""The findings that two datasets share, and the predictions that external validation adds to a study."""

import copy

import pytest
import yaml

from headwater.core.errors import UserError
from headwater.planning import preflight, timing_profile
from headwater.planning.overview import overview
from headwater.planning.timing_profile import TimingProfile
from headwater.study import config as study_config
from headwater.study import job_graph, shared_labels
from workflow_made import ROOT, planned, small_config, snakemake

CONFIGS = ROOT / "config"


def two_hospitals() -> dict:
    """The small grid with a second hospital that shares findings, photographs that share none, and controls."""
    config = copy.deepcopy(small_config())
    config["archives"]["vindr"] = {**config["archives"]["chestxray14"], "folder": "other", "size": 48}
    config["datasets"]["vindr"] = {"labels": ["Pleural effusion", "Nodule/Mass", "Cardiomegaly"]}
    config["datasets"]["photographs"] = {}
    config["controls"] = {"again": ["random"]}
    config["comparison"]["external"] = True
    return config


def grid(change=lambda config: None):
    config = two_hospitals()
    change(config)
    return study_config.load(config).grid()


def test_findings_are_shared_in_the_spelling_of_either():
    pairs = (("Cardiomegaly", "Cardiomegaly"), ("Effusion", "Pleural effusion"))
    assert shared_labels.shared(grid(), fitted="vindr", tested="chestxray14") == pairs
    pairs = (("Pleural effusion", "Effusion"), ("Cardiomegaly", "Cardiomegaly"))
    assert shared_labels.shared(grid(), fitted="chestxray14", tested="vindr") == pairs
    assert shared_labels.shared(grid(), fitted="photographs", tested="vindr") == ()


def test_only_what_both_list_counts():
    few = grid(lambda config: config["datasets"]["chestxray14"].update(labels=["Effusion", "Pneumonia"]))
    assert shared_labels.shared(few, fitted="chestxray14", tested="vindr") == (("Pleural effusion", "Effusion"),)
    every = grid(lambda config: config["datasets"].update(chestxray14={}))
    assert len(shared_labels.shared(every, fitted="chestxray14", tested="vindr")) == 2


def test_two_readings_of_one_archive_share_what_is_spelt_alike():
    def second(config):
        config["archives"]["frontal"] = {"images_of": "chestxray14", "projections": ["PA"]}
        config["datasets"]["frontal"] = {"labels": ["Hernia", "Effusion"]}
        config["datasets"]["chestxray14"]["labels"] = ["Effusion", "Hernia", "Mass"]

    pairs = (("Hernia", "Hernia"), ("Effusion", "Effusion"))
    # of other archives a hernia is not the same finding
    assert shared_labels.shared(grid(second), fitted="chestxray14", tested="frontal") == pairs


def test_abroad_and_guests_are_the_two_sides_of_one_thing():
    study = study_config.read(CONFIGS / "chest_xray.yaml").grid()
    names = [dataset.name for dataset in study.datasets]
    abroad = {(name, one.dataset): one.labels for name in names for one in shared_labels.abroad(study, name).others}
    guests = {(one.dataset, name): one.labels for name in names for one in shared_labels.guests(study, name).others}
    assert abroad == guests and len(abroad) == 30
    assert dict(abroad["mimic_cxr", "chexpert"])["Lung Lesion"] == "Lung Lesion"
    assert abroad["padchest", "uka_cxr"] == (("cardiomegaly", "cardiomegaly"),)


def test_controls_stay_at_home_and_who_shares_nothing_takes_no_part():
    runs = list(shared_labels.runs(grid(), "vindr"))
    assert [(run.source.name, run.seed) for run in runs] == [
        ("random", 0), ("random", 1), ("photographs", 0), ("photographs", 1),
    ]  # fmt: skip
    assert list(shared_labels.runs(grid(), "photographs")) == []
    assert shared_labels.as_lines(grid()) == [
        "chestxray14: vindr 2",
        "vindr: chestxray14 2",
        "photographs: shares no finding with another dataset; left out",
    ]


def test_without_being_asked_for_nobody_goes_anywhere():
    quiet = grid(lambda config: config["comparison"].pop("external"))
    assert shared_labels.abroad(quiet, "vindr").others == () and shared_labels.as_lines(quiet) == []


def test_what_networks_do_elsewhere_changes_no_comparison_at_home():
    quiet = grid(lambda config: config["comparison"].pop("external"))
    assert grid().comparison("vindr").as_json() == quiet.comparison("vindr").as_json()
    assert [run.digest for run in grid().runs("vindr")] == [run.digest for run in quiet.runs("vindr")]


def volumes(*kinds, **of_datasets) -> dict:
    """A study that outlines structures in archives of volumes of these kinds."""
    names = [f"a{number}" for number in range(len(kinds))]
    asked = {name: {"task": "segmentation", **of_datasets.get(name, {})} for name in names}
    return {
        "seeds": [0],
        "backbone": "monai/segresnet",
        "archives": {name: {"kind": kind, "folder": name, "size": 32} for name, kind in zip(names, kinds, strict=True)},
        "sources": {"random": {}, "other": {}},
        "datasets": asked,
        "recipes": {"full": {"training": {"steps": 2}, "select": "dice"}},
        "comparison": {"metrics": ["dice"], "external": True},
    }


KNEE = {"name": "oai", "masks": "{case}.nii.gz", "structures": ["femoral cartilage", "meniscus"]}
OWN = {"name": "own_volumes", "structures": ["tibial cartilage", "femoral cartilage"]}


def test_structures_that_a_config_names_alike_are_shared_between_archives_of_volumes():
    listed = {"labels": ["femoral cartilage", "meniscus"]}
    study = study_config.load(volumes(KNEE, OWN, a0=listed, a1={"tolerance": 2.5})).grid()
    pairs = (("femoral cartilage", "femoral cartilage"),)
    assert shared_labels.shared(study, fitted="a0", tested="a1") == pairs
    assert shared_labels.shared(study, fitted="a1", tested="a0") == pairs
    [abroad] = shared_labels.abroad(study, "a0").others
    # borders are compared within the tolerance of the dataset that is tested on
    assert (abroad.dataset, abroad.tolerance, abroad.labels) == ("a1", 2.5, pairs)
    both = study_config.load(volumes(KNEE, KNEE, a0=listed, a1=listed)).grid()
    assert [pair[0] for pair in shared_labels.shared(both, fitted="a0", tested="a1")] == listed["labels"]
    other = study_config.load(volumes(KNEE, {**OWN, "structures": ["Femoral"]}, a0=listed)).grid()
    assert shared_labels.shared(other, fitted="a0", tested="a1") == ()


def test_targets_of_volumes_share_the_labels_of_their_publisher_and_the_structures_of_the_config():
    targets = {"sex": {"labels": ["Female"]}, "tissue": {"task": "segmentation", "labels": ["meniscus"]}}
    content = volumes(KNEE, KNEE)
    content["datasets"] = {"a0": {"targets": targets}, "a1": {"targets": targets}}
    content["recipes"]["full"]["select"] = "score"
    content["comparison"]["metrics"] = ["auroc", "dice"]
    study = study_config.load(content).grid()
    assert shared_labels.shared(study, fitted="a0", tested="a1") == (("Female", "Female"), ("meniscus", "meniscus"))


def test_a_word_of_a_config_is_not_the_same_word_of_a_publisher_nor_of_pictures():
    def own(config, kind):
        config["archives"]["mine"] = {"kind": {"name": kind, "labels": ["Cardiomegaly"]}, "folder": "mine"}
        config["datasets"]["mine"] = {"labels": ["Cardiomegaly"]}

    mine = grid(lambda config: own(config, "own_folder"))
    assert shared_labels.abroad(mine, "mine").others == ()

    def two(config):
        own(config, "own_folder")
        config["archives"]["theirs"] = {**config["archives"]["mine"], "folder": "theirs"}
        config["datasets"]["theirs"] = {"labels": ["Cardiomegaly"]}

    assert shared_labels.shared(grid(two), fitted="mine", tested="theirs") == (("Cardiomegaly", "Cardiomegaly"),)


def test_jobs_are_planned_as_they_are_reckoned(tmp_path):
    config = two_hospitals()
    found = planned(tmp_path, config=config)
    # two hospitals x two sources, one job for both seeds; the control and the photographs' networks stay at home
    assert (found["transport"], found["cross"], found["predict"]) == (4, 2, 9)
    told: dict[str, int] = {"all": 1}
    for job in job_graph.jobs(study_config.load(config)):
        told[job.rule] = told.get(job.rule, 0) + 1
    assert found == told
    products = {job.product: job for job in job_graph.jobs(study_config.load(config))}
    crossed = products["results/comparisons/vindr.crossed.parquet"]
    assert sum(need.endswith("elsewhere.parquet") for need in crossed.needs) == 2
    assert "results/comparisons/vindr.crossed.parquet" in products["results/report/index.html"].needs


def test_without_it_nothing_new_is_planned(tmp_path):
    config = two_hospitals()
    config["comparison"].pop("external")
    assert not {"transport", "cross"} & set(planned(tmp_path, config=config))


def test_the_command_says_what_is_asked_of_whom(tmp_path):
    said = snakemake(tmp_path, "-n", "--printshellcmds", "--until", "transport", config=two_hospitals()).stdout
    command = next(line for line in said.splitlines() if "scripts/transport.py" in line and "/vindr/random" in line)
    assert '["Effusion","Pleural effusion"]' in command and '"dataset":"chestxray14"' in command
    assert "--cases results/archives/chestxray14/cases.parquet" in command
    assert "--images results/archives/chestxray14/images.npy" in command


def test_datasets_of_which_no_two_share_a_finding_are_refused():
    config = two_hospitals()
    config["datasets"]["vindr"]["labels"] = ["Nodule/Mass"]
    with pytest.raises(UserError, match=r"comparison\.external: no two datasets share a finding; list labels"):
        preflight.check(study_config.load(config))
    config["comparison"]["external"] = False
    preflight.check(study_config.load(config))


def test_a_calibration_foretells_it_by_the_images_of_the_others(tmp_path):
    plan = study_config.load(two_hospitals())
    job = next(job for job in job_graph.jobs(plan) if job.rule == "transport" and job.wildcards[0] == "vindr")
    timed = {"step": 1.0, "image": 0.5, "start": 3.0, "bytes": 1, "steps": 1, "images": 1, "data": "noise"}
    trainings = {timing_profile.rehearsal_of(job, plan).key: timed}
    told = TimingProfile(device="cpu", job={"local": 2.0, "slurm": 60.0}, trainings=trainings)
    test_cases = timing_profile.counts(plan.archives["chestxray14"], plan=plan, folder=tmp_path).test
    assert test_cases == 32
    assert timing_profile.job_seconds(job, plan=plan, profile=told, folder=tmp_path) == pytest.approx(
        2.0 + 3.0 + 2 * 16.0
    )


def test_the_page_of_the_plan_says_who_takes_part(tmp_path, capsys):
    file = tmp_path / "config.yaml"
    for external in (True, False):
        config = two_hospitals()
        config["comparison"]["external"] = external
        file.write_text(yaml.safe_dump(config))
        overview(config=file, folder=tmp_path)
        said = capsys.readouterr().out
        assert ("  photographs: shares no finding with another dataset; left out" in said) == external
        assert ("Findings that a dataset shares with others:" in said) == external
