"""The status page of a partly failed grid on a real SLURM is right about every run, while it is at work and after."""

import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from headwater.planning import runtime_estimate, status
from headwater.planning.status import JobStatus
from headwater.study import config as study_config
from headwater.study.job_graph import jobs
from workflow_made import ROOT, command, environment, small_config

pytestmark = pytest.mark.cluster


def config() -> dict:
    """The small grid on CPUs, with fittings long enough to be met."""
    small = small_config()
    small["recipes"]["finetune"]["training"]["steps"] = 150
    return {**small, "compute": {"device": "cpu"}}


PLAN = study_config.load(config())
JOBS = list(jobs(PLAN))
BROKEN = next(job for job in JOBS if job.title == "finetune chestxray14/random/finetune/0")


def stands(folder: Path) -> dict[str, JobStatus]:
    return {one.job.title: one for one in status.job_statuses(JOBS, status.read_snapshot(folder))}


def test_a_partly_failed_grid(cluster, tmp_path: Path):
    (tmp_path / "results" / "progress" / f"{BROKEN.lease}.pt").mkdir(parents=True)
    options = ["--profile", str(ROOT / "profiles" / "slurm"), "--slurm-jobname-prefix", "status", "--retries", "1"]
    # a group of predictions does not begin before the last of their fittings has ended well
    options += ["--group-components", "predictions_{dataset}=1"]
    quick = ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"]
    asked = command(tmp_path, *options, *quick, config=config())
    seen: dict[str, list[str]] = {job.title: [] for job in JOBS}
    with (tmp_path / "said.log").open("w") as said:
        process = subprocess.Popen(asked, cwd=tmp_path, env=environment(), stdout=said, stderr=said)
        while process.poll() is None:
            for title, one in stands(tmp_path).items():
                if one.state not in seen[title][-1:]:
                    seen[title].append(one.state)
            time.sleep(1)
    assert process.returncode == 1, (tmp_path / "said.log").read_text()
    found = stands(tmp_path)
    assert Counter(one.state for one in found.values()) == {"done": 10, "failed": 1, "blocked": 4}
    assert found[BROKEN.title].state == "failed" and BROKEN.lease in found[BROKEN.title].note
    assert found["compare chestxray14"].state == "blocked"
    for title, states in seen.items():
        if found[title].state == "done":
            # once it has begun, nobody says that it has yet to begin, nor that it failed
            assert "failed" not in states and "blocked" not in states[:1], (title, states)
    fitted = [job for job in JOBS if job.rule == "finetune" and job != BROKEN]
    assert all("running" in seen[job.title] for job in fitted), seen
    # Snakemake's records of jobs in SLURM would say nothing, or nought
    taken = runtime_estimate.estimated(PLAN, folder=tmp_path).finished
    assert all(2 < taken[job.product] < 600 for job in fitted), taken
    assert all(seconds for seconds in taken.values()), taken
