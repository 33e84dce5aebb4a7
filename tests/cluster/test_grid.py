"""The small grid on a real SLURM, by `snakemake --profile slurm` in a checkout of somebody who is not root.

A training is cancelled halfway, and the grid ends in the bytes of the local run.
"""

import getpass
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import slurm
import yaml
from grids import TABLE, Grid, rule_of, witnessed

from workflow_made import ROOT, environment

pytestmark = pytest.mark.cluster

TRAININGS = {"pretrain": 1, "finetune": 4}
# predictions share a job, and so do the comparison and the report
ELSEWHERE = {"twin": 1, "prepare": 2, "ledger": 1, "reduce": 1, "predictions": 1, "comparisons": 1}

PAUSE = 0.1
"""Seconds that a training waits after each step, so that it can be met halfway."""


@dataclass(kw_only=True)
class Someone:
    """Who starts the grid, from which checkout, with which Python, and how a process becomes theirs."""

    name: str
    checkout: Path
    python: str = sys.executable
    process: dict = field(default_factory=lambda: {"env": environment()})
    ourselves: str = ""
    """Why it is nobody else."""


@pytest.fixture
def home() -> Path:
    """The home of the user whom the test cluster brings along, empty."""
    if not slurm.ours():
        pytest.skip("the cluster at hand has no user for tests")
    folder = slurm.ROOT / "home"
    yield folder
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def checked_out(place: Path) -> Path:
    """The files of this checkout, in a folder of their own."""
    folder = place / "headwater"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    archive = place / "checkout.tar"
    with tarfile.open(archive, "w") as packed:
        for name in filter(None, names):
            if (ROOT / name).exists():
                packed.add(ROOT / name, arcname=name)
    folder.mkdir()
    shutil.unpack_archive(archive, folder, filter="data")
    return folder


@pytest.fixture
def python(home: Path) -> str:
    """A Python with our libraries that the user may start: this one, or the system's of the same version with them."""
    if _succeeds([sys.executable, "-c", "import snakemake, torch"], home=home):
        return sys.executable
    own = home / "python"
    other = f"/usr/bin/python{platform.python_version().rpartition('.')[0]}"
    if not _succeeds([other, "-m", "venv", "--without-pip", str(own)], home=home):
        pytest.skip(f"{slurm.USER} may not start {sys.executable}, and {other} makes no environment")
    [packages] = own.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib"))
    program = str(own / "bin" / "python")
    if not _succeeds([program, "-c", "import snakemake, torch"], home=home):
        pytest.skip(f"{slurm.USER} may start neither {sys.executable} nor another Python with our libraries")
    return program


@pytest.fixture
def someone(request: pytest.FixtureRequest, tmp_path: Path) -> Someone:
    """The user, with a checkout and a Python of their own; ourselves where that cannot be."""
    try:
        home, python = map(request.getfixturevalue, ("home", "python"))
    except pytest.skip.Exception as nobody:
        return Someone(name=getpass.getuser(), checkout=checked_out(tmp_path), ourselves=str(nobody))
    return Someone(name=slurm.USER, checkout=checked_out(home), python=python, process=_as_user(home))


@pytest.mark.usefixtures("cluster")
def test_a_grid_with_a_cancelled_training_ends_in_the_bytes_of_the_local_run(someone: Someone, undisturbed: bytes):
    grid = Grid(folder=someone.checkout, prefix="cancelled")
    start(grid, someone)
    try:
        slurm.output("scancel", slurm.until(lambda: halfway(grid), "a training", seconds=900))
        assert grid.process.wait(timeout=900) == 0, (someone.checkout / "snakemake.log").read_text()
    finally:
        if grid.process.poll() is None:
            grid.process.terminate()
            grid.process.wait(timeout=200)
    assert (someone.checkout / TABLE).read_bytes() == undisturbed
    attempts = grid.attempts()
    [cancelled] = [attempt for attempt in attempts if attempt.state != "COMPLETED"]
    assert cancelled.state.startswith("CANCELLED") and rule_of(cancelled.comment) == "finetune"
    completed = [attempt for attempt in attempts if attempt is not cancelled]
    assert Counter(rule_of(attempt.comment) for attempt in completed) == TRAININGS | ELSEWHERE
    assert {attempt.user for attempt in attempts} == {someone.name}
    with_gpu = Counter(rule_of(attempt.comment) for attempt in completed if attempt.gained.get("gres/gpu") == "1")
    assert with_gpu == TRAININGS
    assert {attempt.gained["node"] for attempt in attempts} == {"1"}
    # what was cancelled heard of it, and saved what it had done: no step is taken twice
    [interrupted] = [stretches for stretches in grid.stretches().values() if len(stretches) > 1]
    assert [stretch.first for stretch in interrupted[1:]] == [stretch.last + 1 for stretch in interrupted[:-1]]
    # nothing was written where only root can have
    assert not [file for file in someone.checkout.rglob("*") if file.owner() != someone.name]
    if someone.ourselves:
        pytest.skip(f"passed, but started by ourselves: {someone.ourselves}")


def start(grid: Grid, someone: Someone) -> None:
    """Start the grid as `someone`, who has edited the config and the profile of their checkout."""
    files = {"config/config.yaml": grid.config, "profiles/slurm/config.v9+.yaml": grid.profile()}
    for file, content in files.items():
        (someone.checkout / file).write_text(yaml.safe_dump(content))
    environment = witnessed(someone.checkout, pause=PAUSE, given=someone.process["env"], checkout=someone.checkout)
    if not someone.ourselves:
        _give(someone.checkout)
    with (someone.checkout / "snakemake.log").open("w") as told:
        shutil.chown(told.name, user=someone.name)
        grid.process = subprocess.Popen(
            [someone.python, "-m", "snakemake", "--profile", "slurm"],
            cwd=someone.checkout,
            **someone.process | {"env": environment},
            stdout=told,
            stderr=told,
            start_new_session=True,
        )


def halfway(grid: Grid) -> str | None:
    """A job whose fine-tuning has taken some of its steps, but not most of them."""
    assert grid.process.poll() is None, "the grid ended before a training could be cancelled"
    fitted = {stretches[-1].job: stretches[-1] for stretches in grid.stretches().values()}
    tuned = [job.number for job in grid.running() if rule_of(job.comment) == "finetune"]
    return next((job for job in tuned if job in fitted and 20 < fitted[job].last < 100), None)


def _give(folder: Path) -> None:
    subprocess.run(["chown", "-R", f"{slurm.USER}:{slurm.USER}", folder], check=True)


def _as_user(home: Path) -> dict:
    """How a process is started as the user, with an environment that knows nothing of root's."""
    path = os.pathsep.join(entry for entry in os.get_exec_path() if str(ROOT) not in entry)
    own = {"HOME": str(home), "USER": slurm.USER, "LOGNAME": slurm.USER, "PATH": path, "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in environment().items() if name.startswith("LC_") or name == "LANG"}
    return {"user": slurm.USER, "group": slurm.USER, "extra_groups": [], "env": own | kept}


def _succeeds(command: list[str], *, home: Path) -> bool:
    try:
        return subprocess.run(command, cwd=home, **_as_user(home), capture_output=True).returncode == 0
    except PermissionError:
        return False
