"""Tests on a real SLURM: only when asked for by `-m cluster`, on the cluster at hand or on one started for them."""

import importlib.util
import subprocess

import pytest
import slurm


@pytest.fixture(scope="session")
def cluster():
    """A SLURM that answers; one that was started here is stopped in the end."""
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("Snakemake's SLURM plugin is not installed: pip install -e '.[slurm]'")
    if slurm.answers():
        yield
        return
    if reason := slurm.obstacle():
        pytest.skip(f"no SLURM: {reason}")
    try:
        slurm.start()
    except (OSError, subprocess.SubprocessError) as error:
        # a container may forbid what a machine of one's own allows
        pytest.skip(f"no SLURM: it does not start here: {error}")
    yield
    slurm.stop()
