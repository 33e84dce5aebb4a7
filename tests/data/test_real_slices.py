"""A corpus of real slices: LUNA16 as an own folder, reduced by hash, and used for pre-training."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from archives_made import SAMPLES
from headwater.data.reduction import MANIFEST
from headwater.data.store import CASES
from headwater.models import weight_files
from workflow_made import small_config, snakemake

SLICES = SAMPLES / "luna16_slices"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SLICES.is_dir(), reason="the real slices are not on this machine"),
]


def bits(file: Path) -> np.ndarray:
    """The difference hash of a picture, a bit per pixel that is brighter than its left neighbour."""
    small = np.asarray(Image.open(file).convert("L").resize((9, 8), Image.Resampling.LANCZOS))
    return (small[:, 1:] > small[:, :-1]).ravel()


def kept_by_hand(files: list[Path], *, distance: int) -> list[str]:
    """The slices of a series that differ from all kept before them, in anatomical order."""
    kept: list[Path] = []
    for file in files:
        if all((bits(file) != bits(other)).sum() > distance for other in kept):
            kept.append(file)
    return [file.name for file in kept]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a grid that learned from all slices and from those that differ, in the series' order."""
    folder = tmp_path_factory.mktemp("luna16")
    (folder / "luna16").mkdir()
    (folder / "luna16" / "slices").symlink_to(SLICES, target_is_directory=True)
    with (folder / "luna16" / "cases.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "patient", "series", "position"])
        # by name: the order of the table is not the anatomical one
        for name in sorted(picture.name for picture in SLICES.glob("*.png")):
            series, number = re.fullmatch(r"(.+)\.mhd_(\d+)\.png", name).groups()
            table.writerow([f"slices/{name}", series, series, number])
    config = small_config()
    config["archives"]["luna16"] = {"kind": "own_folder", "folder": "luna16", "size": 32}
    config["reductions"] = {"hash20": {"name": "hash", "distance": 20}}
    training = {"epochs": 2, "batch": 16, "lr": 1e-3}
    learned = {"method": {"name": "swav", "prototypes": 12, "small_views": 2}, "corpus": "luna16", "training": training}
    config["sources"] = {"random": {}, "all": learned, "different": learned | {"reduction": "hash20"}}
    encoders = [f"results/encoders/{name}.safetensors" for name in ("all", "different")]
    snakemake(folder, *encoders, config=config)
    return folder / "results"


def test_the_slices_that_are_kept_are_those_found_by_hand(made):
    manifest = MANIFEST.read(made / "corpora" / "luna16" / "hash20.manifest.parquet")
    cases = CASES.read(made / "archives" / "luna16" / "cases.parquet")
    training = cases[cases["split"] == "train"]
    by_hand = {
        name
        for _, volume in training.sort_values("position").groupby("series")
        for name in kept_by_hand([SLICES / Path(case).name for case in volume["case"]], distance=20)
    }
    kept = {Path(case).name for case in manifest.loc[manifest["kept"], "case"]}
    assert kept == by_hand and 0 < len(kept) < len(manifest) == len(training)


def test_swav_learns_from_them(made):
    encoders = [weight_files.load_weights(made / "encoders" / f"{name}.safetensors") for name in ("all", "different")]
    for tensors, told in encoders:
        assert float(told["spread"]) > 0.01
        assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert any((encoders[0][0][name] != encoders[1][0][name]).any() for name in encoders[0][0])
