"""The plan: what a change of the config repeats, and what a mistake in it says before anything runs."""

import base64
import copy
import json
import re
import shutil
import subprocess

import pytest
import yaml

from workflow_made import ROOT, command, environment, planned, small_config, snakemake

RULES = ("twin", "prepare", "ledger", "reduce", "pretrain", "finetune", "predict", "compare", "examine", "report")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The small grid, run once."""
    folder = tmp_path_factory.mktemp("grid")
    snakemake(folder, config=small_config())
    return folder


def test_the_plan_counts_every_rule(tmp_path):
    jobs = planned(tmp_path, config=small_config())
    assert jobs == {
        "all": 1,
        "twin": 1,
        "prepare": 2,
        "ledger": 1,
        "reduce": 1,
        "pretrain": 1,
        "finetune": 4,
        "predict": 2,
        "compare": 1,
        "examine": 1,
        "report": 1,
    }


def test_only_the_pretraining_that_is_probed_waits_for_the_archive_of_its_probe(tmp_path):
    config = small_config()
    config["archives"]["german"] = {"kind": "uka_cxr", "folder": "german", "size": 32, "twin": {"cases": 60}}
    config["archives"]["other"] = {**config["archives"]["german"], "folder": "other"}
    config["sources"]["chosen"] = config["sources"]["photographs"] | {"probe": {"archive": "german"}}
    config["sources"]["watched"] = config["sources"]["chosen"] | {"further_probes": [{"archive": "other"}]}
    output = snakemake(tmp_path, "-n", "-p", config=config).stdout
    commands = [line for line in output.splitlines() if "pretrain.py" in line]
    given = "--probe-cases results/archives/german/cases.parquet --probe-images results/archives/german/images.npy"
    assert [given in line for line in commands if "encoders/chosen" in line] == [True]
    assert [given in line for line in commands if "encoders/photographs" in line] == [False]
    archives = [f"results/archives/{name}" for name in ("german", "other")]
    both = " ".join(
        f"--probe-{of} {' '.join(f'{archive}/{file}' for archive in archives)}"
        for of, file in (("cases", "cases.parquet"), ("images", "images.npy"))
    )
    assert [both in line for line in commands if "encoders/watched" in line] == [True]
    assert not [line for line in output.splitlines() if "finetune.py" in line and "archives/german" in line]


def test_trainings_are_told_the_memory_of_the_gpus_and_nothing_else_is(tmp_path):
    output = snakemake(tmp_path, "-n", "-p", config=small_config() | {"compute": {"gpu_memory": 24}}).stdout
    verbs = ("pretrain", "finetune", "predict")
    commands = {verb: [line for line in output.splitlines() if f"{verb}.py" in line] for verb in verbs}
    assert all(commands.values())
    told = {verb: ["--gpu-memory 24" in line for line in lines] for verb, lines in commands.items()}
    assert all(told["pretrain"] + told["finetune"]) and not any(told["predict"])


@pytest.mark.slow
def test_the_plan_grows_with_the_seeds(tmp_path):
    jobs = planned(tmp_path, config={**small_config(), "seeds": list(range(20))})
    assert jobs["finetune"] == 40


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config.update(sede=[1]), "sede: unknown key; did you mean 'seeds'?"),
        (lambda config: config["sources"]["photographs"].update(method="supervized"), "did you mean 'supervised'?"),
        (lambda config: config["archives"]["chestxray14"].pop("twin"), "there is no such folder"),
        (lambda config: config["datasets"]["chestxray14"].update(labels=["Efusion"]), "did you mean 'Effusion'?"),
        (lambda config: config.update(backbone="timm/resnet5O"), "timm has no 'resnet5O'; did you mean 'resnet50'?"),
        (
            lambda config: config["sources"].update(own={"weights": {"layout": "timm", "path": "no/weights.pth"}}),
            "no/weights.pth: there is no such file",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_runs(tmp_path, change, said):
    config = copy.deepcopy(small_config())
    change(config)
    process = snakemake(tmp_path, config=config, check=False)
    assert process.returncode != 0
    assert process.stderr.count("headwater:") == 1 and said in process.stderr.partition("headwater:")[2]
    assert "Traceback" not in process.stderr + process.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("kind", ["UTF-16", "loop"])
def test_a_config_of_the_workflow_that_cannot_be_read_is_told_in_one_line(tmp_path, kind):
    file = tmp_path / "config" / "config.yaml"
    file.parent.mkdir()
    file.write_bytes("seeds: [0]".encode("utf-16")) if kind == "UTF-16" else file.symlink_to(file.name)
    words = command(tmp_path, "-n")
    at = words.index("--configfile")
    process = subprocess.run(words[:at] + words[at + 2 :], env=environment(), capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr.count("headwater: config/config.yaml: the config ") == 1
    assert 'File "' not in process.stderr + process.stdout


@pytest.mark.slow
def test_run_again_there_is_nothing_to_do(finished):
    assert planned(finished, config=small_config()) == {}


@pytest.mark.slow
def test_a_new_metric_repeats_no_training(finished):
    config = small_config()
    config["comparison"]["metrics"] = ["auroc", "average_precision"]
    assert planned(finished, config=config) == {"all": 1, "compare": 1, "examine": 1, "report": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [{"reference": None}, {"margin": 0.01}, {"method": "published"}, {"correction": "max_t"}, {"pairing": "nested"}],
    ids=str,
)
def test_another_comparison_repeats_no_training(finished, change):
    config = small_config()
    config["comparison"] |= change
    assert planned(finished, config=config) == {"all": 1, "compare": 1, "examine": 1, "report": 1}


@pytest.mark.slow
def test_predictions_of_runs_with_other_settings_are_not_compared(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    # nothing is left that tells that the runs had another learning rate
    shutil.rmtree(folder / ".snakemake" / "metadata")
    for record in (folder / "results").rglob(".*.made.json"):
        record.unlink()
    config = small_config()
    config["recipes"]["finetune"]["training"]["lr"] = 5e-3
    (folder / "results" / "report" / "index.html").unlink()
    refused = snakemake(folder, config=config, check=False)
    assert refused.returncode != 0 and "was compared with other settings" in refused.stdout + refused.stderr
    refused = snakemake(folder, "--forcerun", "compare", config=config, check=False)
    assert refused.returncode != 0 and "is of a run with other settings" in refused.stdout + refused.stderr


FORGOTTEN = {
    "seeds": (lambda config: config.update(seeds=[0, 1, 2]), {"finetune": 2, "predict": 2}),
    "metric": (lambda config: config["comparison"].update(metrics=["auroc", "average_precision"]), {}),
    "size": (
        lambda config: config["archives"]["chestxray14"].update(size=48),
        {"prepare": 1, "ledger": 1, "finetune": 4, "predict": 2},
    ),
}
"""Changes of the config, and the jobs besides the last ones that they need."""


@pytest.mark.slow
@pytest.mark.parametrize("name", FORGOTTEN)
def test_what_snakemake_has_forgotten_is_repeated_all_the_same(finished, tmp_path, name):
    change, jobs = FORGOTTEN[name]
    folder, config = tmp_path / "copy", small_config()
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns(".snakemake"))
    assert planned(folder, config=config) == {}
    change(config)
    output = snakemake(folder, "-n", "--quiet", "rules", config=config).stdout
    assert "Made again, and replaced: the finished products of " in output
    assert planned(folder, config=config) == {"all": 1, **jobs, "compare": 1, "examine": 1, "report": 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORGOTTEN)
def test_what_is_not_to_be_repeated_is_told_at_the_end(finished, tmp_path, monkeypatch, name):
    folder, config = tmp_path / "copy", small_config()
    shutil.copytree(finished, folder)
    FORGOTTEN[name][0](config)
    monkeypatch.delenv("CI", raising=False)
    for given, code in ((None, 0), ("true", 2), ("false", 0)):
        if given:
            monkeypatch.setenv("CI", given)
        process = snakemake(folder, "--rerun-triggers", "mtime", config=config, check=False)
        assert process.returncode == code
        lines = [line for line in process.stderr.splitlines() if line.startswith("headwater:")]
        assert len(lines) == 2 and name in lines[0] and lines[0].startswith("headwater: results/report/index.html: ")
        assert all(line.endswith("; leave out --rerun-triggers, or name params among them") for line in lines)
    assert not (folder / "results" / "runs" / "chestxray14" / "random" / "finetune" / "seed2").exists()


@pytest.mark.slow
def test_a_control_adds_its_own_runs_and_no_encoder(finished):
    config = {**small_config(), "controls": {"again": ["photographs"], "shuffled": ["random"]}}
    expected = {"all": 1, "finetune": 4, "predict": 2, "compare": 1, "examine": 1, "report": 1}
    assert planned(finished, config=config) == expected


@pytest.mark.slow
def test_a_new_source_adds_only_its_own_branch(finished):
    config = small_config()
    config["sources"]["random_again"] = {}
    assert planned(finished, config=config) == {
        "all": 1,
        "finetune": 2,
        "predict": 1,
        "compare": 1,
        "examine": 1,
        "report": 1,
    }


@pytest.mark.slow
def test_a_second_reading_of_the_labels_decodes_no_image_again(finished):
    config = small_config()
    config["archives"]["frontal"] = {"images_of": "chestxray14", "projections": ["PA"]}
    config["datasets"]["frontal"] = config["datasets"]["chestxray14"]
    expected = {"all": 1, "relabel": 1, "finetune": 4, "predict": 2, "compare": 1, "examine": 1, "report": 1}
    assert planned(finished, config=config) == expected


@pytest.mark.slow
def test_a_new_seed_adds_only_its_own_runs(finished):
    assert planned(finished, config={**small_config(), "seeds": [0, 1, 2]}) == {
        "all": 1,
        "finetune": 2,
        "predict": 2,
        "compare": 1,
        "examine": 1,
        "report": 1,
    }


@pytest.mark.slow
def test_the_report_is_whole(finished):
    report = finished / "results" / "report"
    for name in ("index.html", "significance.csv", "significance.md", "significance.tex", "significance.html"):
        assert (report / name).stat().st_size > 200
    assert not list((finished / "results" / "progress").glob("*.pt"))


@pytest.mark.slow
def test_snakemakes_own_report_holds_all_tables_and_figures_with_captions(finished):
    snakemake(finished, "--report", "study.html", config=small_config())
    text = (finished / "study.html").read_text()
    held = json.loads(re.search(r"var results = (\{.*\})", text)[1])
    assert "Where should a network's first weights come from?" in text and "system-message" not in text
    report = finished / "results" / "report"
    files = [file for file in report.iterdir() if file.suffix in (".html", ".svg", ".csv")]
    assert {"index.html", "plan.html", "ledger.html", "calibration.html", "forest_macro.svg"} <= {f.name for f in files}
    for file in files:
        entry = held[str(file.relative_to(finished))]
        assert base64.b64decode(entry["data_uri"].partition(";base64,")[2]) == file.read_bytes()
        assert entry["caption"].startswith("<p>") and len(entry["labels"]) == 3, file
    assert "significant after Holm" in held["results/report/forest_macro.svg"]["caption"]
    categories = json.loads(re.search(r"var categories = (\{.*\})", text)[1])
    assert {"Study", "Results", "Calibration", "Check-lists"} <= categories.keys()
    # no folder of the user's: neither that of the study nor, in settings of a job, those of archives
    assert str(finished) not in text
    assert {entry["job_properties"]["params"] for entry in held.values()} == {"captions=Captions()"}


@pytest.mark.slow
def test_another_number_of_ranks_or_another_tracker_repeats_nothing(finished):
    compute = {"ranks": 4, "nodes": 2, "threads": 3, "device": "cpu"}
    config = {**small_config(), "tracking": {"wandb": "offline"}, "compute": compute}
    config["recipes"]["finetune"]["compute"] = {"ranks": 2, "nodes": 1}
    assert planned(finished, config=config) == {}


@pytest.mark.slow
@pytest.mark.parametrize("ci", ["", "true"])
def test_several_nodes_without_slurm_are_refused_before_the_first_job(tmp_path, monkeypatch, ci):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("CI", ci)
    process = snakemake(tmp_path, config={**small_config(), "compute": {"ranks": 2, "nodes": 2}}, check=False)
    assert process.returncode == 1
    assert "headwater: trainings on several nodes need SLURM; set nodes: 1" in process.stderr
    assert "Traceback" not in process.stderr and "there is no report" not in process.stderr
    assert not (tmp_path / "twin").exists()


@pytest.mark.slow
def test_small_jobs_are_grouped_by_the_profile_and_trainings_are_not(tmp_path):
    config = small_config()
    config["recipes"]["probe"] = {**config["recipes"]["finetune"], "kind": "linear_probe"}
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.v9+.yaml").read_text())
    plan = snakemake(tmp_path, "-n", "--groups", *profile["groups"], config=config).stdout
    grouped = {rule for rule in RULES if f"    rule {rule}:" in plan}
    alone = {rule for rule in RULES if f"\nrule {rule}:" in plan}
    assert grouped == {"finetune", "predict", "compare", "examine", "report"}
    assert alone == {"twin", "prepare", "ledger", "reduce", "pretrain", "finetune"}


@pytest.mark.slow
def test_a_job_that_fails_is_the_last_word_in_continuous_integration_too(tmp_path, monkeypatch):
    monkeypatch.setenv("CI", "true")
    # a folder where prepare writes a file
    (tmp_path / "results" / "archives" / "chestxray14" / "images.npy" / "full").mkdir(parents=True)
    process = snakemake(tmp_path, config=small_config(), check=False)
    assert process.returncode == 1, process.stderr
    assert "there is no report" not in process.stderr
