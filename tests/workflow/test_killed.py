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


MOMENTS = ("preparing", "pre-training", "fine-tuning", "predicting", "comparing")
"""Points in the life of a grid."""


def moments(folder: Path, grid: Grid) -> dict[str, Callable[[], bool]]:
    """Each of MOMENTS as a question whether it is reached."""
    progress, logs = folder / "results" / "progress", folder / "logs"
    fits = [progress / f"{run.digest}.pt" for run in grid.runs("chestxray14")]
    questions = (
        lambda: any(logs.glob("prepare/*.log")),
        (progress / f"{grid.source('photographs').digest}.pt").exists,
        lambda: any(file.exists() for file in fits),
        lambda: any(logs.glob("predict/**/*.log")),
        lambda: any(logs.glob("compare/*.log")),
    )
    return dict(zip(MOMENTS, questions, strict=True))


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


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("pre-training", "fine-tuning", "comparing"), id="three"),
        pytest.param(tuple(MOMENTS), id="five", marks=pytest.mark.soak),
    ],
)
def test_killed_at_several_moments_the_table_is_the_same_bytes(tmp_path, names):
    config = small_config()
    for training in (config["sources"]["photographs"]["training"], config["recipes"]["finetune"]["training"]):
        training["steps"] = 80  # long enough to be met halfway
    left_alone, killed = tmp_path / "left_alone", tmp_path / "killed"
    for folder in (left_alone, killed):
        folder.mkdir()
    snakemake(left_alone, config=config)
    reached = moments(killed, study_config.load(config).grid())
    for name in names:
        kill_when(reached[name], killed, config=config)
        snakemake(killed, "--unlock", plain=True)
    snakemake(killed, plain=True)
    table = Path("results/report/significance.csv")
    assert (killed / table).read_bytes() == (left_alone / table).read_bytes()
    assert not list((killed / "results" / "progress").glob("*.pt"))
