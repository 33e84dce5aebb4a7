"""Estimates from a timing profile, compared with actual durations, and shown by the overview and a dry run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwater import cli
from headwater.core import files, registry
from headwater.core.errors import UserError
from headwater.planning import cost, overview, runtime_estimate, timing_profile
from headwater.planning.rehearse import rehearse
from headwater.planning.timing_profile import Timed, TimingProfile
from headwater.study import config as study_config
from headwater.study.job_graph import jobs
from headwater.study.paths import Paths
from records_made import record, written
from workflow_made import ROOT, environment, small_config, snakemake

PLAN = study_config.load(small_config())
JOBS = {job.title: job for job in jobs(PLAN)}
FIT, PREDICT = "finetune chestxray14/random/finetune/0", "predict chestxray14/random/finetune"
TIMED = Timed(start=3.0, step=0.5, image=0.01, bytes=1000, steps=10, images=32, data="noise")


def calibrated(folder: Path, plan: study_config.Config = PLAN, **changed: float) -> TimingProfile:
    """A calibration of every kind of training of a plan, written where it belongs."""
    rehearsals = [timing_profile.rehearsal_of(job, plan) for job in jobs(plan)]
    timed = {rehearsal.key: TIMED.model_copy(update=changed) for rehearsal in rehearsals if rehearsal}
    told = TimingProfile(device="cpu", job={"local": 1.0, "slurm": 4.0}, trainings=timed)
    files.write_json(told.model_dump(), timing_profile.file_of(plan, folder=folder))
    return told


def cases(folder: Path, **counts: int) -> None:
    """A table of which only the splits are read."""
    file = folder / Paths("results").cases("chestxray14")
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"split": np.repeat(list(counts), list(counts.values()))}).to_parquet(file)


def foretold(title: str, folder: Path, plan: study_config.Config = PLAN) -> float | None:
    job = {job.title: job for job in jobs(plan)}[title]
    return timing_profile.job_seconds(job, plan=plan, profile=timing_profile.read(plan, folder=folder), folder=folder)


def test_seconds_come_from_steps_validations_and_images(tmp_path: Path):
    calibrated(tmp_path)
    cases(tmp_path, train=80, validation=30, test=50)
    # around a job, its start, 40 steps, two looks at 30 images
    assert foretold(FIT, tmp_path) == pytest.approx(1 + 3 + 40 * 0.5 + 2 * 30 * 0.01)
    # one job for both seeds
    assert foretold(PREDICT, tmp_path) == pytest.approx(1 + 3 + 2 * (50 + 30) * 0.01)
    assert foretold("pretrain photographs", tmp_path) == pytest.approx(1 + 3 + 40 * 0.5)
    assert foretold("report", tmp_path) is None


def test_epochs_are_as_many_steps_as_the_images_ask_for(tmp_path: Path):
    content = small_config()
    content["recipes"]["finetune"]["training"] = {"epochs": 3, "batch": 16, "validations": 1}
    content["sources"]["photographs"]["training"] = {"epochs": 3, "batch": 16}
    plan = study_config.load(content)
    calibrated(tmp_path, plan)
    cases(tmp_path, train=80, validation=30, test=50)
    assert foretold(FIT, tmp_path, plan) == pytest.approx(1 + 3 + 15 * 0.5 + 30 * 0.01)
    # nobody says how many photographs there are before they are prepared
    assert foretold("pretrain photographs", tmp_path, plan) is None


def test_a_twin_promises_its_cases():
    have = timing_profile.counts(PLAN.archives["chestxray14"], plan=PLAN, folder=Path("nowhere"))
    assert (have.train, have.validation, have.test, have.counted) == (96, 32, 32, False)
    assert timing_profile.counts(PLAN.archives["photographs"], plan=PLAN, folder=Path("nowhere")) is None


def test_names_and_lengths_make_no_other_kind_of_training():
    content = small_config()
    content["recipes"]["longer"] = {"training": {**content["recipes"]["finetune"]["training"], "steps": 900}}
    content["recipes"]["probe"] = {**content["recipes"]["finetune"], "kind": "linear_probe"}
    plan = study_config.load(content)
    keys = {job.run.recipe.name: timing_profile.rehearsal_of(job, plan).key for job in jobs(plan) if job.run}
    assert keys["longer"] == keys["finetune"] != keys["probe"]


@pytest.mark.parametrize("task", ["classification", "ordinal"])
def test_targets_side_by_side_are_timed_together(tmp_path: Path, task: str):
    content = small_config()
    asked = {"a": {"task": task, "labels": ["Mass", "Edema", "Nodule"]}}
    content["datasets"] = {"chestxray14": {"targets": asked | {"b": {"labels": ["Hernia"]}}}}
    plan = study_config.load(content)
    rehearsal = next(timing_profile.rehearsal_of(job, plan) for job in jobs(plan) if job.title == FIT)
    assert rehearsal.labels == 4 and list(rehearsal.targets) == ["a", "b"]
    assert rehearsal.key != timing_profile.rehearsal_of(JOBS[FIT], PLAN).key
    rehearse(rehearsal=rehearsal, measured=tmp_path / "measured.json", seconds=0.01, device="cpu")
    assert files.read_json(tmp_path / "measured.json")["step"] > 0


def test_finished_jobs_are_believed_before_the_calibration(tmp_path: Path):
    calibrated(tmp_path)
    written(tmp_path / JOBS[FIT].product)
    record(tmp_path, JOBS[FIT].product, starttime=1000.0, endtime=1100.0)
    known = runtime_estimate.estimated(PLAN, folder=tmp_path)
    assert known.takes(JOBS[FIT]) == 100.0
    assert {rule for rule, _ in known.from_profile} == {"pretrain", "predict"}
    table = cost.by_kind(known).set_index("Rule")
    assert table.loc["finetune", "Seconds each"] == "100.0" and table.loc["pretrain", "Seconds each"] == "24.0 c"


def test_a_calibration_that_cannot_be_read_is_refused(tmp_path: Path):
    written(timing_profile.file_of(PLAN, folder=tmp_path), '{"device": "cpu"}')
    with pytest.raises(UserError, match=r"calibration.json: not a valid timing profile.*calibrate again"):
        runtime_estimate.estimated(PLAN, folder=tmp_path)


@pytest.mark.slow
def test_real_steps_are_timed(tmp_path: Path, capsys: pytest.CaptureFixture):
    config = written(tmp_path / "config.yaml", json.dumps(small_config()))
    command = [sys.executable, ROOT / "scripts" / "plan.py", "calibrate", "--config", config, "--seconds", "0.5"]
    process = subprocess.run([*command, "--folder", tmp_path], capture_output=True, text=True, env=environment())
    assert process.returncode == 0, process.stderr
    told = timing_profile.read(PLAN, folder=tmp_path)
    assert len(told.trainings) == 2
    for timed in told.trainings.values():
        assert timed.start > 0.5 and 0 < timed.step < 5 and 0 < timed.image < 1 and timed.steps >= 10
        # a test_resnet has some 400,000 numbers
        assert 1e6 < timed.bytes < 3e6 and timed.data == "noise"
    # a difference of two times, which is nothing where the machine is busy
    assert 0 <= told.job["local"] < 5 < 60 * told.job["slurm"]
    assert set(runtime_estimate.estimated(PLAN, folder=tmp_path).from_profile) > {("pretrain", "photographs")}


# predicted and actual


def finished(folder: Path, seconds: dict[str, tuple[float, ...]]) -> None:
    """Fine-tunings of both seeds, and predictions for both together, that took so long."""
    for rule, by_seed in seconds.items():
        for source in ("random", "photographs"):
            for seed, took in enumerate(by_seed):
                place = f"chestxray14/{source}/finetune"
                product = JOBS[f"{rule} {place}/{seed}" if rule == "finetune" else f"{rule} {place}"].product
                written(folder / product)
                record(folder, product, starttime=1000.0, endtime=1000.0 + took)


def compared(folder: Path, capsys: pytest.CaptureFixture, *arguments: str) -> str:
    config = written(folder / "config.yaml", json.dumps(small_config()))
    cli.main(["plan", "compare", "--config", str(config), "--folder", str(folder), *arguments])
    return " ".join(capsys.readouterr().out.split())


def test_the_later_seeds_are_foretold_from_the_others(tmp_path: Path, capsys: pytest.CaptureFixture):
    finished(tmp_path, {"finetune": (3600.0, 3000.0), "predict": (360.0,)})
    said = compared(tmp_path, capsys)
    assert "Held out: seeds 1 and all pre-trainings." in said
    assert "finetune chestxray14, finetune, timm/test_resnet 2 1.6667 2.0000 1.20" in said
    assert "from other seeds: 2.0000 process-hours, actual 1.6667 (2 jobs): ratio 1.20, within ±25%." in said
    assert "Estimate from timing profile: none for these jobs." in said


def test_what_misses_is_said_to_miss(tmp_path: Path, capsys: pytest.CaptureFixture):
    finished(tmp_path, {"finetune": (3600.0, 5000.0), "predict": (360.0,)})
    calibrated(tmp_path, step=1e-6)
    said = compared(tmp_path, capsys)
    assert "Estimate from other seeds" in said and "ratio 0.72, NOT within ±25%" in said
    assert re.search(r"Estimate from timing profile: 0\.0\d+ process-hours, .* ratio 0\.00, NOT within", said)
    assert "ratio 1.39, NOT within" in compared(tmp_path, capsys, "--held-out", "0")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--held-out", "7"], "--held-out: the study has no seed 7; choose from [0, 1]"),
        ([], "no training job of the study has finished"),
    ],
)
def test_what_cannot_be_compared(tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        compared(tmp_path, capsys, *arguments)
    assert said in capsys.readouterr().err


# the whole plan


def whole(folder: Path, *arguments: str, content: dict | None = None) -> subprocess.CompletedProcess:
    config = written(folder / "config.yaml", json.dumps(content or small_config()))
    command = [sys.executable, ROOT / "scripts" / "plan.py", "--config", config, "--folder", folder, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_the_page_tells_jobs_hours_disk_and_licences(tmp_path: Path):
    calibrated(tmp_path)
    process = whole(tmp_path, "--trainings", "3")
    said = process.stdout
    assert process.returncode == 0, process.stderr
    assert "1 dataset x 2 sources (0 controls among them) x 1 recipe x 2 seeds = 4 runs" in said
    assert re.search(r"^finetune +4 +0 +0\.027 +0\.027$", said, re.MULTILINE)
    assert re.search(r"^ +3 +0\.0\d\d +0\.0\d\d$", said, re.MULTILINE)
    assert "160 cases x 1 x 32 x 32; expected, not counted" in said
    assert re.search(r"4 models \(finetune\) of timm/test_resnet +0\.0  from the timing profile", said)
    assert "images of photographs     –  number of cases unknown" in said
    assert "CC BY 2.0: china.jpg" in said and said.rstrip().endswith("Missing: nothing")


def test_the_page_tells_what_is_missing_and_whose_weights(tmp_path: Path):
    content = small_config()
    content["archives"]["vindr"] = {"folder": "data/vindr"}
    content["datasets"]["vindr"] = {}
    layout = {"layout": "dinov2", "path": "weights/absent.pth"}
    content["sources"]["published"] = {"backbone": "timm/vit_tiny_patch16_224", "weights": layout}
    process = whole(tmp_path, content=content)
    assert process.returncode == 2 and "Traceback" not in process.stderr
    assert "data/vindr: there is no such folder" in process.stdout
    assert "weights/absent.pth: there is no such file" in process.stdout
    assert "2 things are missing" in process.stderr
    assert "published: DINOv2" in process.stdout and "Apache-2.0" in process.stdout
    assert "PhysioNet Credentialed Health Data License 1.5.0" in process.stdout


def test_no_command_is_the_page_of_the_demo(tmp_path: Path):
    command = [sys.executable, ROOT / "scripts" / "plan.py", "--folder", str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert process.returncode == 0, process.stderr
    assert "in results/demo" in process.stdout


def test_the_card_of_weights_is_read_without_importing_them():
    for name in registry.names("weights"):
        assert all(registry.constant("weights", name, f"CARD.{part}", default="") for part in overview.CARD), name


# in a dry run


@pytest.mark.parametrize("arguments", [(), ("--logger", "headwater")])
def test_a_dry_run_ends_with_its_price(tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch):
    calibrated(tmp_path)
    if arguments:
        # as after `make setup`
        monkeypatch.setenv("PYTHONPATH", str(ROOT / "scripts"))
    said = snakemake(tmp_path, "-n", *arguments, config=small_config()).stdout
    assert said.count("Price of this plan") == 1
    before, price = " ".join(said.split()).split("Price of this plan: ")
    assert before.rstrip().endswith("The order of jobs does not reflect the order of execution.")
    assert "1 twin, 2 prepare, 1 ledger, 1 reduce, 1 pretrain, 4 finetune, 2 predict, 1 compare, 1 examine," in price
    assert "the longest chain has 8 jobs. 0.037 process-hours" in price
    assert "8 jobs of unknown duration not included" in price
    # Snakemake's own words are all there
    assert "rule finetune:" in said and "Job stats:" in said


def test_only_what_would_run_has_a_price(tmp_path: Path):
    said = snakemake(tmp_path, "-n", JOBS["prepare photographs"].product, config=small_config()).stdout
    assert "Price of this plan: 1 prepare; the longest chain has 1 job." in " ".join(said.split())
    plain = snakemake(tmp_path, JOBS["prepare photographs"].product, config=small_config())
    assert "Price" not in plain.stdout + plain.stderr
    assert re.search(r"^prepare photographs  \d:\d\d  \[1/1\]$", plain.stderr, re.MULTILINE)
    # Snakemake's own lines are in its log file
    [log] = (tmp_path / ".snakemake" / "log").glob("*.log")
    assert "rule prepare:" in log.read_text() and "rule prepare:" not in plain.stderr
