"""A whole study of pictures that are stored larger than its networks see them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from headwater.models import weight_files
from headwater.study.paths import Paths
from workflow_made import ROOT, environment, small_config, snakemake

pytestmark = pytest.mark.slow

CARD = "48 × 48 pixels, seen in views of 32 × 32"


def config() -> dict:
    whole = small_config()
    for archive in whole["archives"].values():
        archive |= {"size": 48, "view": 32}
    whole["sources"]["photographs"] |= {"method": "simclr", "views": {"like": "photographs"}, "view": 24}
    whole["recipes"]["finetune"]["views"] = {"crop": 0.5, "flip": 0.5}
    return whole


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("larger")
    snakemake(folder, "--cores", "2", config=config())
    return folder


def test_pictures_are_stored_at_their_size_and_seen_in_their_view(study):
    paths = Paths(study / "results")
    assert np.load(paths.images("chestxray14"), mmap_mode="r").shape[-1] == 48
    sizes = {"encoder": paths.encoder("photographs"), "model": paths.model("chestxray14/photographs/finetune/seed0")}
    found = {name: weight_files.load_weights(Path(file))[1] for name, file in sizes.items()}
    assert {name: metadata["size"] for name, metadata in found.items()} == {"encoder": "24", "model": "32"}
    assert json.loads(found["encoder"]["source"])["view"] == 24 and found["model"]["stored"] == "48"


def test_the_report_tells_both(study):
    said = Path(Paths(study / "results").report(), "index.html").read_text()
    assert CARD in said and "in views of 24 × 24 pixels" in said


def test_the_plan_counts_what_is_stored(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config()))
    line = [sys.executable, ROOT / "scripts" / "plan.py"]
    for words in (["calibrate", "--seconds", "0.5"], []):
        given = {"cwd": tmp_path, "env": environment(), "timeout": 300}
        done = subprocess.run([*line, *words, "--config", "config.yaml"], capture_output=True, text=True, **given)
        assert done.returncode == 0, done.stderr
    assert "160 cases x 1 x 48 x 48; expected, not counted" in done.stdout
    timed = json.loads((tmp_path / "results" / "calibration.json").read_text())["trainings"]
    assert sorted(key.partition("test_resnet ")[2] for key in timed) == ["24 of 48 px 1 ranks", "32 of 48 px 1 ranks"]


def test_a_finished_study_has_nothing_to_do_until_its_view_changes(study):
    assert "Nothing to be done" in snakemake(study, "-n", config=config()).stdout
    other = config()
    other["archives"]["chestxray14"]["view"] = 40
    said = snakemake(study, "-n", config=other).stdout
    assert "finetune" in said and "rule prepare" not in said and "rule pretrain" not in said
