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
    done = snakemake(tmp_path, "results/ledger.parquet", config=config)
    assert "prepare_volumes" in done.stdout + done.stderr
    folder = tmp_path / "results" / "archives" / "organ"
    assert sum(part["cases"] for part in json.loads((folder / "split.json").read_text())["splits"].values()) == 12
    assert (CEILINGS.read(folder / "ceilings.parquet")["dice_mean"] > 0.95).all()
