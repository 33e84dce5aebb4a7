"""A short campaign: some faults of each sort on one grid, which ends in the bytes of the undisturbed one."""

from pathlib import Path

import campaign
import pytest

pytestmark = pytest.mark.cluster

KINDS = ["scancel", "TIMEOUT", "preemption", "rank killed", "controller killed"]


@pytest.mark.usefixtures("cluster")
def test_grids_survive_what_clusters_do(tmp_path: Path, capsys: pytest.CaptureFixture):
    options = ["--seed", "0", "--injections", "5", "--at-once", "1", "--folder", str(tmp_path), "--kinds", *KINDS]
    code = campaign.main(options)
    told = capsys.readouterr().out
    assert code == 0, told
    print(told)
    injected = [line for line in told.splitlines() if "grid0" in line and "no effect" not in line]
    assert len({kind for kind in KINDS if any(kind.split()[0] in line for line in injected)}) >= 4, told
