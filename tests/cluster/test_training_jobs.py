"""A training on several processes, of one node or two, takes the steps of one process, on the GPUs it asked for."""

import csv
import re
import shutil
from pathlib import Path

import pytest
from grids import Grid, config

from workflow_made import snakemake

pytestmark = pytest.mark.cluster

ENCODER = "results/encoders/photographs.safetensors"
TRACE = "results/encoders/photographs/metrics.csv"
SHAPES = {"one-node": {"ranks": 2}, "two-nodes": {"ranks": 2, "nodes": 2}}


def short(**compute: object) -> dict:
    """A pre-training whose steps are in proportion to gradients, and so small that a rounding moves no loss by 1e-5.

    Rounding can change a gradient by a percent at most (see `rounding`), and 30 such steps of 1e-5 the loss by 3e-6 of
    its squared slope; the steps themselves move it a hundred times as far.
    """
    small = config(**compute)
    small["sources"]["photographs"]["training"] |= {"steps": 30, "optimiser": "sgd", "lr": 1e-5}
    return small


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-training by one process, without SLURM, and what it needs."""
    folder = tmp_path_factory.mktemp("alone")
    snakemake(folder, ENCODER, config=short())
    return folder


def trace(folder: Path) -> dict[tuple[str, str], float]:
    """Each value that a training noted, by step and name."""
    return {(row["step"], row["name"]): float(row["value"]) for row in csv.DictReader((folder / TRACE).open())}


def prepared(folder: Path, *, alone: Path) -> None:
    """Put what a pre-training needs into a folder, with what Snakemake knows of it."""
    for name in ("results/archives", "results/corpora", ".snakemake/metadata"):
        shutil.copytree(alone / name, folder / name, dirs_exist_ok=True)
    for file in (alone / "results").glob("ledger.*"):
        shutil.copy2(file, folder / "results" / file.name)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("shape", SHAPES)
def test_two_ranks_take_the_steps_of_one(tmp_path: Path, alone: Path, shape: str):
    prepared(tmp_path, alone=alone)
    grid = Grid(folder=tmp_path, prefix=shape, config=short(**SHAPES[shape]), gpus=0)
    grid.start(ENCODER)
    assert grid.process.wait(timeout=600) == 0, (tmp_path / "snakemake.log").read_text()
    assert trace(tmp_path) == pytest.approx(trace(alone), rel=1e-5, abs=1e-5)
    [attempt] = grid.attempts()
    assert int(attempt.gained["node"]) == SHAPES[shape].get("nodes", 1)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_training_gets_the_gpus_of_its_ranks_and_looks_for_them(tmp_path: Path, alone: Path, shape: str):
    prepared(tmp_path, alone=alone)
    asked = short() | {"compute": {"device": "auto", **SHAPES[shape]}}
    grid = Grid(folder=tmp_path, prefix=f"gpus-{shape}", config=asked, gpus=0, retries=0)
    grid.start(ENCODER)
    code = grid.process.wait(timeout=600)
    [attempt] = grid.attempts()
    assert attempt.gained["gres/gpu"] == "2"
    assert int(attempt.gained["node"]) == SHAPES[shape].get("nodes", 1)
    if code:
        # what SLURM calls a GPU need not be one: the training says so at once, and does not crawl on a CPU
        assert attempt.state == "FAILED"
        log = (tmp_path / "snakemake.log").read_text() + "".join(
            file.read_text() for file in tmp_path.glob(".snakemake/slurm_logs/**/*.log")
        )
        assert re.search(r"torch finds no GPU, although CUDA_VISIBLE_DEVICES is \d", log)
