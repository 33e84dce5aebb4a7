"""Volumes go through the workflow: a twin is made and prepared by the rule for volumes, and its ledger is written."""

import json

from headwater.data.volume_preparation import CEILINGS
from workflow_made import snakemake


def test_a_twin_of_volumes_is_prepared_and_enters_the_ledger(tmp_path):
    twin = {"cases": 12, "seed": 1, "size": 32}
    organ = {"kind": "msd", "folder": "organ", "size": [24, 24, 16], "spacing": "median", "twin": twin}
    config = {
        "seeds": [0],
        "archives": {"organ": organ},
        "sources": {name: {"backbone": "monai/segresnet"} for name in ("one", "two")},
        "datasets": {"organ": None},
        "recipes": {"finetune": {"training": {"steps": 2, "batch": 2}}},
        "comparison": {"reference": "one"},
    }
    config["sources"]["flat"] = {"backbone": "timm/test_resnet", "slices": "axial"}
    config["datasets"] = {"organ": {"task": "segmentation"}}
    config["recipes"]["finetune"]["select"] = "loss"
    config["comparison"]["metrics"] = ["dice"]
    # one prepared archive and one comparison of what sees volumes whole and what sees slices
    plan = snakemake(tmp_path, "-n", "-p", config=config)
    commands = [line for line in plan.stdout.splitlines() if "finetune.py" in line or "predict.py" in line]
    seen = {source: [line for line in commands if f"runs/organ/{source}/" in line] for source in config["sources"]}
    for source, lines in seen.items():
        words = "--patch 24 24 1 " if source == "flat" else "--patch 24 24 16 "
        assert len(lines) == 2 and all(words in line for line in lines)
    done = snakemake(tmp_path, "results/ledger.parquet", config=config)
    assert "prepare_volumes" in done.stdout + done.stderr
    folder = tmp_path / "results" / "archives" / "organ"
    assert sum(part["cases"] for part in json.loads((folder / "split.json").read_text())["splits"].values()) == 12
    assert (CEILINGS.read(folder / "ceilings.parquet")["dice_mean"] > 0.95).all()
