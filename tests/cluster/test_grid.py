"""The small grid on a real SLURM ends in the bytes of the local run when a training is cancelled halfway."""

from collections import Counter
from pathlib import Path

import pytest
import slurm
from grids import TABLE, Grid, rule_of

pytestmark = pytest.mark.cluster

FITTINGS = 4


@pytest.mark.usefixtures("cluster")
def test_a_cancelled_training_is_repeated_to_the_same_bytes(tmp_path: Path, undisturbed: bytes):
    grid = Grid(folder=tmp_path, prefix="cancelled")
    grid.start()
    try:
        slurm.until(lambda: halfway(grid), "a training", seconds=600)
        slurm.output("scancel", halfway(grid))
        assert grid.process.wait(timeout=900) == 0, (tmp_path / "snakemake.log").read_text()
    finally:
        if grid.process.poll() is None:
            grid.process.terminate()
            grid.process.wait(timeout=200)
    assert (tmp_path / TABLE).read_bytes() == undisturbed
    states = Counter(attempt.state for attempt in grid.attempts() if rule_of(attempt.comment) == "finetune")
    assert states.pop("COMPLETED") == FITTINGS
    assert states.total() == 1
    # what was cancelled heard of it, and saved what it had done: no step is taken twice
    [interrupted] = [stretches for stretches in grid.stretches().values() if len(stretches) > 1]
    assert [stretch.first for stretch in interrupted[1:]] == [stretch.last + 1 for stretch in interrupted[:-1]]


def halfway(grid: Grid) -> str | None:
    """A job whose fine-tuning has taken some of its steps, but not most of them."""
    assert grid.process.poll() is None, "the grid ended before a training could be cancelled"
    fitted = {stretches[-1].job: stretches[-1] for stretches in grid.stretches().values()}
    tuned = [job.number for job in grid.running() if rule_of(job.comment) == "finetune"]
    return next((job for job in tuned if job in fitted and 20 < fitted[job].last < 100), None)
