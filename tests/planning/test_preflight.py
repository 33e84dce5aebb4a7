"""Preflight checks: missing archives, label files, weights, networks and packages are reported before the first job."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.core.errors import UserError
from headwater.planning import preflight
from headwater.study import config as study_config
from workflow_made import small_config


def told(change) -> str:
    """What the check says of the small grid after a change."""
    config = copy.deepcopy(small_config())
    change(config)
    with pytest.raises(UserError) as refusal:
        preflight.check(study_config.load(config))
    return str(refusal.value)


def test_a_plan_with_all_it_needs_passes():
    preflight.check(study_config.load(small_config()))


def test_all_that_is_wanting_is_told_at_once(tmp_path):
    def change(config):
        config["archives"]["chestxray14"]["twin"] = None
        config["archives"]["empty"] = {"kind": "vindr", "folder": str(tmp_path)}
        config["datasets"]["chestxray14"]["labels"] = ["Efusion"]
        config["backbone"] = "timm/resnet5O"
        config["sources"]["own"] = {"weights": {"layout": "timm", "path": "no/weights.pth"}}
        config["sources"]["folder"] = {"weights": {"layout": "timm", "path": str(tmp_path)}}

    said = told(change)
    assert "twin: there is no such folder; correct archives.chestxray14.folder" in said
    assert "archives.empty: " in said and "image_labels_train.csv" in said
    assert "has no 'Efusion'; did you mean 'Effusion'?" in said
    assert "timm has no 'resnet5O'; did you mean 'resnet50'?" in said
    assert "no/weights.pth: there is no such file; correct sources.own.weights.path" in said
    assert f"{tmp_path}: is a folder; correct sources.folder.weights.path" in said
    assert "\n" not in said


def test_a_twin_without_a_folder_has_nowhere_to_lie():
    assert "archives.chestxray14.folder: missing" in told(
        lambda config: config["archives"]["chestxray14"].pop("folder")
    )


def test_a_service_is_asked_for_only_where_its_package_is_installed(monkeypatch):
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    for service in ("wandb", "mlflow"):
        assert f"pip install -e '.[{service}]'" in told(lambda config: config.update(tracking={service: "offline"}))  # noqa: B023
    # headwater itself writes what ClearML imports
    preflight.check(study_config.load(small_config() | {"tracking": {"clearml": "offline"}}))
    preflight.check(study_config.load(small_config()))


def test_a_server_of_mlflow_without_an_address_is_told_before_the_first_job(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    wanting = "tracking.mlflow: online, but MLFLOW_TRACKING_URI is not set; export it, or set offline"
    assert wanting in told(lambda config: config.update(tracking={"mlflow": "online"}))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    said = preflight.mistakes(study_config.load(small_config() | {"tracking": {"mlflow": "online"}}))
    assert not any("MLFLOW_TRACKING_URI" in line for line in said)


def private(folder: Path, kind: str, **tracking: str) -> dict:
    """The small grid with a private archive, whose folder is empty, in place of its twin."""
    config = copy.deepcopy(small_config()) | {"tracking": tracking}
    config["archives"]["chestxray14"].update(kind=kind, folder=str(folder), twin=None)
    # some have an official one
    config["archives"]["chestxray14"].pop("validation", None)
    return config


@pytest.mark.parametrize("kind", ["own_folder", "mimic_cxr", "padchest", "uka_cxr"])
def test_curves_of_private_archives_are_not_sent_to_a_server(tmp_path, kind):
    said = preflight.mistakes(study_config.load(private(tmp_path, kind, wandb="online")))
    assert (
        "tracking.wandb: online, but nothing of archives.chestxray14 may go to a server outside; set offline, or"
        " disabled, or if its terms allow tables of results: aggregates_only: true" in said
    )
    said = preflight.mistakes(study_config.load(private(tmp_path, kind, mlflow="online")))
    assert (
        "tracking.mlflow: online, but nothing of archives.chestxray14 may go to a server outside; set offline, or"
        " disabled" in said
    )
    for kept in ({"wandb": "offline"}, {"wandb": "disabled"}, {"mlflow": "offline", "clearml": "offline"}):
        said = preflight.mistakes(study_config.load(private(tmp_path, kind, **kept)))
        assert not any("server" in line for line in said)


def test_tables_of_private_archives_may_be_sent_where_the_config_says_so(tmp_path):
    config = private(tmp_path, "mimic_cxr", wandb="online")
    config["tracking"]["aggregates_only"] = True
    study = study_config.load(config)
    assert not any("server" in line for line in preflight.mistakes(study))
    # and then no training is tracked there
    assert study.tracking.trackers == ("csv", "tensorboard")


def test_curves_of_twins_and_of_open_archives_may_be_sent(tmp_path):
    config = copy.deepcopy(small_config()) | {"tracking": {"wandb": "online"}}
    # an archive that no source and no dataset uses is not read
    config["archives"]["unused"] = {"kind": "own_folder", "folder": str(tmp_path)}
    said = preflight.mistakes(study_config.load(config))
    said += preflight.mistakes(study_config.load(private(tmp_path, "chestxray14", wandb="online")))
    assert not any("server" in line for line in said)


def imported_by(program: str, *, among: set[str]) -> set[str]:
    """Which of these libraries a fresh Python has imported after a program."""
    told = f"{program}\nimport sys; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(preflight.__file__).parents[2])}
    said = subprocess.run([sys.executable, "-c", told], env=environment, check=True, capture_output=True, text=True)
    return among & set(said.stdout.split())


def test_planning_does_not_wait_for_the_compiler():
    assert not imported_by("import headwater.planning.preflight, headwater.study.config", among={"numba"})


def test_labels_that_stand_in_an_archives_file_are_read_without_importing_it():
    config = small_config()
    config["archives"] = {"chestxray14": config["archives"]["chestxray14"]}
    config["datasets"] = {"chestxray14": {"labels": ["Effusion"]}}
    config["sources"] = {"random": {}, "other": {}}
    imports = "from headwater.planning import preflight\nfrom headwater.study import config\n"
    check = f"{imports}preflight.check(config.load({config!r}))"
    assert not imported_by(check, among={"pandas", "numpy", "torch"})


def test_a_training_imports_nothing_heavy_that_it_does_not_use():
    assert imported_by("import headwater.stages.finetune", among={"torch", "numba", "scipy", "sklearn", "wandb"}) == {
        "torch"
    }


def test_an_archive_that_comes_with_the_software_ties_no_job_to_its_place():
    assert preflight.label_files(study_config.load(small_config()).archives["photographs"]) == []


def test_an_archive_of_files_needs_a_folder():
    def change(config):
        config["archives"]["chestxray14"] = {"size": 32}

    assert "archives.chestxray14: " in told(change)


def test_a_method_trains_some_networks_only_and_images_of_some_sizes():
    def change(config):
        config["sources"]["own"] = {
            "method": "mae",
            "corpus": "chestxray14",
            "training": {"steps": 2, "batch": 8},
            "backbone": "timm/test_resnet",
        }

    said = told(change)
    assert "sources.own.method: mae trains networks of timm/vision_transformer only (got timm/test_resnet" in said
    assert "dino" in said.partition("one of")[2]


def test_options_that_do_nothing_to_the_network_are_told_in_the_plan():
    def change(config):
        config["sources"]["own"] = {
            "method": {"name": "moco_v3", "frozen_patches": False},
            "corpus": "chestxray14",
            "training": {"steps": 2, "batch": 8},
            "backbone": "timm/test_resnet",
        }

    assert "sources.own.method: moco_v3.frozen_patches has an effect on networks of" in told(change)


def test_batches_are_dealt_into_groups_and_fill_no_more_than_a_queue():
    def moco(backbone="timm/test_resnet", **options):
        config = copy.deepcopy(small_config()) | {"compute": {"ranks": 4}}
        config["sources"]["own"] = {
            "method": {"name": "moco", **options},
            "corpus": "chestxray14",
            "training": {"steps": 2, "batch": 64},
            "backbone": backbone,
        }
        return "; ".join(preflight.mistakes(study_config.load(config)))

    said = moco(queue=32)
    assert "sources.own.method.queue: must be 0 or >= training.batch (64, got 32)" in said
    assert "sources.own.training.batch: must be a multiple of method.group (32) times ranks (4, got 64)" in said
    assert moco(group=16) == moco(backbone="timm/test_vit") == ""


def test_checkpointing_is_refused_of_networks_of_which_it_is_not_known_to_keep_less():
    def checkpointed(backbone):
        config = copy.deepcopy(small_config()) | {"backbone": backbone}
        for recipe in config["recipes"].values():
            recipe["training"]["checkpointing"] = recipe.get("kind", "finetune") == "finetune"
        return "; ".join(preflight.mistakes(study_config.load(config)))

    assert (
        "training.checkpointing: gradient checkpointing of timm/test_byobnet is not known to keep less; remove it, and"
        " raise accumulate or compute.ranks" in checkpointed("timm/test_byobnet")
    )
    assert "checkpointing" not in checkpointed("timm/test_resnet")


def test_drop_path_is_refused_of_networks_without_blocks_to_leave_out():
    def dropping(backbone):
        config = copy.deepcopy(small_config()) | {"backbone": backbone}
        config["recipes"]["finetune"]["training"]["drop_path"] = 0.1
        return "; ".join(preflight.mistakes(study_config.load(config)))

    assert (
        "recipes.finetune.training.drop_path: timm/test_byobnet leaves out no blocks; remove it, or choose another"
        " backbone" in dropping("timm/test_byobnet")
    )
    assert "drop_path" not in dropping("timm/test_resnet")


def test_batches_in_parts_are_refused_where_batch_norm_would_show_the_parts_of_compared_images():
    def in_parts(method, backbone):
        config = copy.deepcopy(small_config())
        source = config["sources"]["photographs"]
        config["sources"]["photographs"] = source | {"method": method, "backbone": backbone}
        config["sources"]["photographs"]["training"] = source["training"] | {"accumulate": 2}
        return "; ".join(preflight.mistakes(study_config.load(config)))

    said = in_parts("simclr", "timm/test_resnet")
    assert "sources.photographs.training.accumulate: simclr compares the images of a batch" in said
    assert "or take a network with LayerNorm" in said
    for method, backbone in (("simclr", "timm/test_vit"), ("simclr", "timm/resnet50_gn"), ("byol", "timm/test_resnet")):
        assert "accumulate" not in in_parts(method, backbone)


def test_a_probe_needs_labels_that_its_archive_has(monkeypatch):
    def probing(config):
        config["sources"]["photographs"]["probe"] = {"archive": "photographs", "labels": ["china r0 c99"]}

    assert "sources.photographs.probe.labels: photographs has no 'china r0 c99'; did you mean 'china" in told(probing)

    def watching(config):
        config["sources"]["photographs"]["further_probes"] = [{"archive": "photographs", "labels": ["none"]}]

    assert "sources.photographs.further_probes.0.labels: photographs has no 'none'" in told(watching)
    monkeypatch.setattr(preflight, "_labels_of", lambda kind: ("Cardiomegaly", "Effusion") * (kind == "chestxray14"))
    said = told(probing)
    assert said.endswith("sources.photographs.probe.archive: photographs has no labels; name another archive")
