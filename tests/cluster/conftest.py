"""Tests on a real SLURM: only when asked for by `-m cluster`, on the cluster at hand or on one started for them."""

import fcntl
import importlib.util
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
import slurm
from grids import TABLE, config

from workflow_made import snakemake


@pytest.fixture(scope="session")
def cluster():
    """A SLURM that answers; one that was started here is stopped in the end."""
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("Snakemake's SLURM plugin is not installed: pip install -e '.[slurm]'")
    if not slurm.answers() and (reason := slurm.obstacle()):
        pytest.skip(f"no SLURM: {reason}")
    with ExitStack() as held:
        try:
            held.enter_context(slurm.in_use())
        except (OSError, subprocess.SubprocessError) as error:
            # a container may forbid what a machine of one's own allows
            pytest.skip(f"no SLURM: it does not start here: {error}")
        yield


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of the small grid without SLURM; run once, by whichever of pytest's processes asks first."""
    place = tmp_path_factory.getbasetemp()
    folder = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "undisturbed"
    folder.mkdir(exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / TABLE).exists():
            snakemake(folder, config=config())
    return (folder / TABLE).read_bytes()
