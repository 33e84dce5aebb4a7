"""Somebody who is not root runs the small grid on SLURM, from a checkout and a Python of their own."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
import slurm
from grids import TABLE, Grid, config

from workflow_made import ROOT, environment, snakemake

pytestmark = pytest.mark.cluster


@pytest.fixture
def home() -> Path:
    """The home of the user whom the test cluster brings along, empty."""
    if not slurm.ours():
        pytest.skip("the cluster at hand has no user for tests")
    folder = slurm.ROOT / "home"
    yield folder
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@pytest.fixture
def checkout(home: Path) -> Path:
    """The files of this checkout, in that home."""
    folder = home / "headwater"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    archive = home / "checkout.tar"
    with tarfile.open(archive, "w") as packed:
        for name in filter(None, names):
            if (ROOT / name).exists():
                packed.add(ROOT / name, arcname=name)
    folder.mkdir()
    shutil.unpack_archive(archive, folder, filter="data")
    _give(folder)
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


@pytest.mark.usefixtures("cluster")
def test_the_grid_of_somebody_who_is_not_root(home: Path, checkout: Path, python: str, tmp_path: Path):
    folder = home / "study"
    folder.mkdir()
    grid = Grid(folder=folder, prefix="notroot", config=config(steps=40))
    command = [word.replace(str(ROOT), str(checkout)) for word in grid.command()]
    _give(folder)
    said = subprocess.run(
        [python, *command[1:]], cwd=folder, **_as_user(home), capture_output=True, text=True, timeout=1500
    )
    assert said.returncode == 0, said.stdout + said.stderr
    attempts = grid.attempts()
    assert {attempt.state for attempt in attempts} == {"COMPLETED"}
    assert {attempt.user for attempt in attempts} == {slurm.USER}
    # nothing was written where only root can have
    assert not [file for file in folder.rglob("*") if file.owner() != slurm.USER]
    snakemake(tmp_path, config=grid.config)
    assert (folder / TABLE).read_bytes() == (tmp_path / TABLE).read_bytes()


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
