"""Offline runs are uploaded in one command, each once, and none of archives whose terms forbid it."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import wandb_server
from headwater.core.errors import UserError
from headwater.reporting.dashboards.sync import offline_runs, sync, synced
from headwater.study import config as study_config
from headwater.study import run_ids
from headwater.study.paths import Paths, history
from workflow_made import small_config

pytest.importorskip("wandb", reason="wandb is an extra")

ATTEMPT = """
import sys
from pathlib import Path
from headwater.study import config, run_ids
from headwater.training.tracking import Trackers
from training_made import ALONE
study = config.read(Path(sys.argv[1]))
run = next(study.grid().runs("chestxray14"))
names = {"group": "g", "name": run.path, "job": "finetune"}
with Trackers(Path(sys.argv[2]), record=run, tracking=run_ids.told(study), world=ALONE, **names) as one:
    one.rewind(int(sys.argv[3]))
    for step in range(int(sys.argv[3]) + 1, int(sys.argv[4]) + 1):
        one.log(step, {"training/loss": 1 / step})
    one.summary({"kept/step": int(sys.argv[4])})
"""
"""A training from a step to another, of which wandb writes an offline run."""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The small grid, tracked offline, with its results in a folder of the test."""
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    monkeypatch.chdir(tmp_path)
    content = copy.deepcopy(small_config()) | {"tracking": {"wandb": "offline"}, "results": "results"}
    return written(content, Path("config.yaml"))


def written(content, file: Path) -> Path:
    file.write_text(yaml.safe_dump(json.loads(json.dumps(content))))
    return file


def attempt(config: Path, folder: str, *, first: int, last: int) -> None:
    words = [sys.executable, "-c", ATTEMPT, str(config), folder, str(first), str(last)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_offline_runs_are_uploaded_once(config, monkeypatch, capsys):
    study = study_config.read(config)
    run = next(study.grid().runs("chestxray14"))
    folder = Paths(study.results).run(run.path)
    attempt(config, folder, first=0, last=20)
    with wandb_server.running() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", wandb_server.KEY)
        sync(config, dry_run=True)
        assert "1 to upload" in capsys.readouterr().out and not server.requests
        sync(config)
        identity = run_ids.of_training(run, tracking=run_ids.told(study))
        assert list(server.runs) == [identity]
        points = [(point["_step"], point["training/loss"]) for point in server.history(identity)]
        assert points == [(10, 0.1), (20, 0.05)]
        sent = len(server.requests)
        sync(config)
        assert "1 uploaded before, 0 to upload" in capsys.readouterr().out and len(server.requests) == sent
        # a run that is written anew would have its points twice
        attempt(config, folder, first=20, last=30)
        sync(config)
        assert "1 run changed since: left as uploaded" in capsys.readouterr().out
        assert [point["_step"] for point in server.history(identity)] == [10, 20]


def test_runs_of_private_archives_stay_here_unless_only_aggregates_leave(config):
    content = yaml.safe_load(config.read_text())
    content["archives"]["chestxray14"] |= {"kind": "mimic_cxr", "folder": "mimic", "twin": None}
    content["archives"]["chestxray14"].pop("validation", None)
    with pytest.raises(UserError, match=r"nothing of archives\.chestxray14 may go to a server outside; keep the runs"):
        sync(written(content, config), dry_run=True)
    for folder in (Paths("results").run("a/b/c/seed0"), history(Paths("results").encoder("s")), "results/tracking"):
        place = Path(folder) / "wandb" / "offline-run-20260101_000000-x"
        place.mkdir(parents=True)
        (place / "run-x.wandb").touch()
    content["tracking"]["aggregates_only"] = True
    files = offline_runs(study_config.read(written(content, config)))
    assert [file.parts[:2] for file in files] == [("results", "tracking")]


def test_runs_of_other_configs_in_the_same_results_stay_here(config):
    study = study_config.read(config)
    own = next(study.grid().runs("chestxray14"))
    for path in (own.path, "mimic_cxr/random/finetune/seed0"):
        place = Path(Paths(study.results).run(path)) / "wandb" / "offline-run-20260101_000000-x"
        place.mkdir(parents=True)
        (place / "run-x.wandb").touch()
    assert [file.parts[2] for file in offline_runs(study)] == ["chestxray14"]
    content = yaml.safe_load(config.read_text())
    content["tracking"]["wandb"] = "disabled"
    with pytest.raises(UserError, match="sends nothing to Weights & Biases"):
        sync(written(content, config), dry_run=True)


def test_what_was_uploaded_before_an_upload_broke_off_is_remembered(config, monkeypatch, capsys):
    study = study_config.read(config)
    runs = list(study.grid().runs("chestxray14"))[:2]
    for number, run in enumerate(runs):
        place = Path(Paths(study.results).run(run.path)) / "wandb" / f"offline-run-20260101_000000-{number}"
        place.mkdir(parents=True)
        (place / f"run-{number}.wandb").touch()

    def breaks_off(files):
        synced(files[0]).touch()
        raise UserError("the line is dead")

    monkeypatch.setattr("headwater.reporting.dashboards.sync.upload", breaks_off)
    with pytest.raises(UserError, match="the line is dead"):
        sync(config)
    # compare has written the first anew meanwhile, so that the mark is gone
    [mark] = Path(study.results).rglob("*.synced")
    mark.unlink()
    capsys.readouterr()
    sync(config, dry_run=True)
    said = capsys.readouterr().out
    assert "1 uploaded before, 1 to upload" in said and "1 run changed since" in said
