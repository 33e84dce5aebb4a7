"""A grid that is killed again and again ends in the same bytes as one that was left alone."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.study import config as study_config
from headwater.study.grid import Grid
from workflow_made import command, environment, small_config, snakemake

pytestmark = pytest.mark.slow


def moments(folder: Path, grid: Grid) -> dict[str, Callable[[], bool]]:
    """Five points in the life of the grid, each as a question whether it is reached."""
    progress, logs = folder / "results" / "progress", folder / "logs"
    fits = [progress / f"{run.digest}.pt" for run in grid.runs("chestxray14")]
    return {
        "preparing": lambda: any(logs.glob("prepare/*.log")),
        "pre-training": (progress / f"{grid.source('photographs').digest}.pt").exists,
        "fine-tuning": lambda: any(file.exists() for file in fits),
        "predicting": lambda: any(logs.glob("predict/**/*.log")),
        "comparing": lambda: any(logs.glob("compare/*.log")),
    }


def kill_when(reached: Callable[[], bool], folder: Path, *, config: dict) -> None:
    """Start the grid, and kill it and all its jobs with SIGKILL at the moment."""
    process = subprocess.Popen(
        command(folder, config=config),
        cwd=folder,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not reached():
        assert process.poll() is None, "the grid ended before it could be killed"
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_at_five_moments_the_table_is_the_same_bytes(tmp_path):
    config = small_config()
    for training in (config["sources"]["photographs"]["training"], config["recipes"]["finetune"]["training"]):
        training["steps"] = 150  # long enough to be met halfway
    left_alone, killed = tmp_path / "left_alone", tmp_path / "killed"
    for folder in (left_alone, killed):
        folder.mkdir()
    snakemake(left_alone, config=config)
    for reached in moments(killed, study_config.load(config).grid()).values():
        kill_when(reached, killed, config=config)
        snakemake(killed, "--unlock", plain=True)
    snakemake(killed, plain=True)
    table = Path("results/report/significance.csv")
    assert (killed / table).read_bytes() == (left_alone / table).read_bytes()
    assert not list((killed / "results" / "progress").glob("*.pt"))
