"""A study whose test images are also trained on: refused, or run without them, and told in every table."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from headwater.data.dropping import DROPPED
from workflow_made import planned, snakemake

pytestmark = pytest.mark.slow

COPIES = {"train_0.png": "test_0.png", "train_7.png": "test_1.png", "validation_0.png": "test_2.png"}


def config(**leaks) -> dict:
    """A random start and a pre-training on the dataset's own training images, both fitted to it."""
    training = {"steps": 4, "batch": 8, "lr": 1e-3, "save_minutes": 0}
    return {
        "results": "results",
        "seeds": [0],
        "backbone": "timm/test_resnet",
        "archives": {"mine": {"kind": {"name": "own_folder", "labels": ["A"]}, "folder": "mine", "size": 32}},
        "sources": {"random": {}, "ours": {"method": "supervised", "corpus": "mine", "training": training}},
        "datasets": {"mine": {}},
        "recipes": {"finetune": {"training": {**training, "validations": 2}}},
        "comparison": {"reference": "random", "resamples": 1000, "fewest_positive": 2},
        "leaks": leaks,
    }


@pytest.fixture
def folder(tmp_path):
    """A folder of one's own with three copies of test images among what is learned from."""
    (tmp_path / "mine").mkdir()
    chance, rows = np.random.default_rng(0), []
    for split, count in (("test", 16), ("train", 24), ("validation", 12)):
        for number in range(count):
            name = f"{split}_{number}.png"
            Image.fromarray(chance.integers(0, 255, (32, 32), np.uint8)).save(tmp_path / "mine" / name)
            rows.append({"file": name, "patient": name, "split": split, "A": number // 2 % 2})
    for copy, original in COPIES.items():
        (tmp_path / "mine" / copy).write_bytes((tmp_path / "mine" / original).read_bytes())
    pd.DataFrame(rows).to_csv(tmp_path / "mine" / "cases.csv", index=False)
    return tmp_path


def test_copies_of_test_images_stop_a_study_or_are_dropped_from_all_that_learns(folder):
    results = folder / "results"
    failed = snakemake(folder, config=config(), check=False)
    assert failed.returncode and "2 leaks into test splits" in failed.stdout + failed.stderr
    # Snakemake deleted what the failed job had declared, and not this
    told = pd.read_csv(results / "private" / "leaks.csv")
    assert set(told["case"]) | set(told["other_case"]) == {*COPIES, *COPIES.values()}
    assert not (results / "ledger.parquet").exists()

    plan = config(resolve={"identical": "drop_from_training"})
    snakemake(folder, config=plan)
    listed = DROPPED.read(results / "archives" / "mine" / "dropped.parquet")
    assert set(listed["case"]) == set(COPIES)
    for source in ("random", "ours"):
        fit = json.loads((results / "runs" / "mine" / source / "finetune" / "seed0" / "fit.json").read_text())
        assert fit["rows"] == {"train": 22, "validation": 11} and fit["dropped"]["train"] == 2
    assert len(pd.read_parquet(results / "corpora" / "mine" / "everything.parquet")) == 22
    report = results / "report"
    said = (
        "Dropped from training, because a test split has their like (leaks.resolve): 2 cases of mine train "
        "(identical images: 2); 1 case of mine validation (identical images: 1)."
    )
    for name in ("macro.md", "significance.md", "labelwise_mine.md", "calibration.md", "index.html", "summary.txt"):
        assert said in (report / name).read_text(), name
    # no name of a case leaves the private files
    shared = [results / "ledger.csv", *report.iterdir()]
    assert not [file for file in shared if re.search(b"(train|test)_0", file.read_bytes())]
    assert planned(folder, config=plan) == {}

    # a ledger made alone that drops the same cases repeats no training
    plan["leaks"]["distance"] = 15
    snakemake(folder, "ledger", config=plan)
    assert not {"reduce", "pretrain", "finetune", "predict"} & planned(folder, config=plan).keys()
    # what it drops no longer is learned from again
    del plan["leaks"]["resolve"]
    plan["leaks"]["excused"] = [
        {"kind": "identical", "between": [f"mine {split}", "mine test"], "reason": "to see what it changes"}
        for split in ("train", "validation")
    ]
    assert {"reduce", "pretrain", "finetune", "predict"} <= planned(folder, config=plan).keys()
