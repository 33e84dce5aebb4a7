"""The controller on a real SLURM: it outlives its own time limit, and puts back what was preempted for good."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from grids import config, witnessed

from headwater.cluster import controller_lock, waiting
from headwater.cluster.schedulers import slurm
from headwater.cluster.snakemake_log import SnakemakeLog
from headwater.cluster.watchdog import Watchdog
from workflow_made import ROOT

pytestmark = pytest.mark.cluster

DOOR = [sys.executable, str(ROOT / "scripts" / "submit.py")]
TABLE = Path("results/report/significance.csv")
PAUSE = 0.6
"""Seconds that a training waits after each step: it outlasts the controller's time, and the machine stays free."""
QUICK = "--slurm-init-seconds-before-status-checks 2 --latency-wait 10 --slurm-jobname-prefix controlled"


def submit(folder: Path, *words: str) -> str:
    """What submit.py says."""
    process = subprocess.run(
        [*DOOR, *words], cwd=folder, env=witnessed(folder, pause=PAUSE), capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def until(reached: Callable[[], bool], *, seconds: float) -> None:
    """Wait for a moment."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(1)


def told_by_accounts(job: str, field: str, *options: str) -> list[str]:
    """A field of a job in SLURM's accounts, line by line."""
    asked = ["sacct", "-n", "-P", "-j", job, "-o", field, *options]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


def starts_of(job: str) -> list[str]:
    """How each start of a job ended."""
    return told_by_accounts(job, "State", "-X", "-D")


@pytest.mark.usefixtures("cluster")
def test_the_controller_outlives_its_own_time(tmp_path: Path, undisturbed: bytes):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config()))
    said = submit(tmp_path, "start", "--config", "config.yaml", "--minutes", "2", "--look", "10", "--snakemake", QUICK)
    [job] = re.findall(r"job (\d+)", said)
    try:
        assert f"job {job}: " in submit(tmp_path, "status")
        until(lambda: not waiting.answered(slurm.alive, job), seconds=1500)
    finally:
        ended = submit(tmp_path, "logs", "--lines", "300")
        if waiting.answered(slurm.alive, job):
            submit(tmp_path, "cancel")
    until(lambda: starts_of(job)[-1:] == ["COMPLETED"], seconds=30)
    assert starts_of(job).count("REQUEUED") >= 2, ended
    assert (tmp_path / TABLE).read_bytes() == undisturbed
    assert controller_lock.read(tmp_path) is None
    assert_one_at_a_time(tmp_path / "results" / "progress" / "leases.jsonl")


def assert_one_at_a_time(record: Path) -> None:
    """No run is trained by two jobs at once: a lease ends, or its job is dead, before the next one begins."""
    at_work: dict[str, str] = {}
    for event in map(json.loads, record.read_text().splitlines()):
        if event["event"] == "began":
            former = at_work.get(event["run"])
            assert former is None or end_of(former) <= event["time"] + 1, event
            at_work[event["run"]] = event["job"]
        elif event["event"] == "ended":
            assert at_work.pop(event["run"]) == event["job"], event


def end_of(job: str) -> float:
    """When a job ended, in Unix seconds."""
    [end] = told_by_accounts(job, "End", "-X")
    return datetime.fromisoformat(end).timestamp()


@pytest.mark.usefixtures("cluster")
def test_a_job_that_was_preempted_for_good_runs_again(tmp_path: Path):
    asked = ["sinfo", "-h", "-N", "-t", "idle", "-p", "preemptcancel", "-o", "%N"]
    idle = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    if not idle:
        pytest.skip("no idle node in a partition preemptcancel, as that of tests/cluster/slurm.py is")
    node = idle[-1]
    lasting = "trap '' TERM; for second in $(seq 60); do sleep 1; done"
    low = sbatch(tmp_path, "-p", "preemptcancel", "-w", node, "--exclusive", "--requeue", "--wrap", lasting)
    until(lambda: "RUNNING" in starts_of(low), seconds=60)
    sbatch(tmp_path, "-p", "gpu", "-w", node, "--wrap", "true")
    until(lambda: starts_of(low)[-1:] == ["PREEMPTED"], seconds=120)
    lines: list[str] = []
    log = SnakemakeLog(tmp_path, submitted=slurm.SUBMITTED)
    log.submitted.add(low)
    watchdog = Watchdog(tmp_path, scheduler=slurm, session=-1, log=log, patience=600, say=lines.append)
    until(lambda: watchdog.look() is None and lines, seconds=60)
    assert lines == [f"job {low} was preempted for good; put back into the queue"]
    until(lambda: starts_of(low) == ["REQUEUED", "RUNNING"], seconds=90)
    waiting.end([low], scheduler=slurm)


def sbatch(folder: Path, *options: str) -> str:
    """The number of a job that runs in a folder."""
    asked = ["sbatch", "--parsable", "-A", "lab", "-N", "1", "-n", "1", "--mem", "100", *options]
    return subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
