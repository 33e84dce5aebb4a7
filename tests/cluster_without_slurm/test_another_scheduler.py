"""A new scheduler costs one file: with it in the family's folder, every program of the library works under it."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import folder_scheduler
import scheduler_protocol
import snakemake_made
from headwater.cluster import schedulers, supervisor
from headwater.cluster.supervisor import Controller, Orders
from headwater.study import config as study_config
from headwater.study.job_graph import jobs
from records_made import written
from workflow_made import ROOT, small_config

BY_SNAKEMAKE = "headwater_0a1b2c3d-0000-0000-0000-000000000000"

TRAINS = """
import os, sys, time
from pathlib import Path
Path(sys.argv[1], "at_work_" + os.environ["FOLDER_JOB"] + "_" + os.environ.get("RANK", "0")).touch()
time.sleep(float(sys.argv[2]))
"""

STARTS = """
import sys
from pathlib import Path
from headwater.cluster import schedulers, submit
from headwater.cluster.supervisor import Orders
orders = Orders(folder=Path.cwd(), command=tuple(sys.argv[1:]), look=0.2, patience=60.0, restarts=2)
submit._orders = lambda *_, **__: orders
submit._scheduler_for = lambda config: schedulers.in_force()
submit.start(config=Path("config.yaml"), minutes=2)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library with one more file."""
    place = tmp_path_factory.mktemp("library")
    for folder in ("scripts", "profiles"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    family = place / schedulers.HERE.relative_to(ROOT)
    shutil.copy(folder_scheduler.__file__, family / "folder.py")
    return place / "scripts"


@pytest.fixture
def folder(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an empty queue; every program that is started has the new scheduler."""
    (tmp_path / "queue").mkdir()
    (tmp_path / "trains.py").write_text(TRAINS)
    (tmp_path / "config.yaml").write_text(json.dumps(small_config()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOLDER_QUEUE", str(tmp_path / "queue"))
    monkeypatch.setenv("PYTHONPATH", str(library))
    yield tmp_path
    for job in folder_scheduler.queued():
        folder_scheduler.cancel(job.number)


def until(reached: Callable[[], object], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def launched(folder: Path, library: Path, *options: str, seconds: float, number: str = "") -> str:
    """The number of a job that trains for so long."""
    training = ["--", str(folder / "trains.py"), str(folder), str(seconds)]
    command = [sys.executable, str(library / "launch.py"), *options, *training]
    return folder_scheduler.submit(command, log=folder / "log", number=number)


def called(library: Path, program: str, *words: str) -> str:
    """What a program of the library prints."""
    command = [sys.executable, str(library / f"{program}.py"), *words]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_it_fulfils_the_protocol():
    scheduler_protocol.assert_fulfilled(folder_scheduler)


def test_the_second_job_of_a_run_ends_the_first(folder: Path, library: Path):
    lease = ["--lease", str(folder / "progress" / "abc.pt")]
    first = launched(folder, library, *lease, seconds=60)
    until((folder / f"at_work_{first}_0").exists)
    second = launched(folder, library, *lease, seconds=0)
    until(lambda: not folder_scheduler.alive(second))
    assert not folder_scheduler.alive(first)
    lines = (folder / "progress" / "leases.jsonl").read_text().splitlines()
    assert [(event["job"], event["event"], event.get("code")) for event in map(json.loads, lines)] == [
        (first, "began", None),
        (second, "cancels", None),
        (first, "ended", 143),
        (second, "began", None),
        (second, "ended", 0),
    ]
    assert f"job {first} trains this run; ending it" in (folder / "log").read_text()


def test_two_nodes_are_one_step(folder: Path, library: Path):
    # the number decides the port, which other tests of this machine must not use at the same time
    job = launched(folder, library, "--ranks", "2", "--nodes", "2", seconds=0, number=str(os.getpid()))
    until(lambda: not folder_scheduler.alive(job), seconds=120)
    ranks = {file.name for file in folder.glob("at_work_*")}
    assert ranks == {f"at_work_{job}_0", f"at_work_{job}_1"}, (folder / "log").read_text()


def test_the_watchdog_reports_what_never_starts_and_requeues_what_was_preempted(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(supervisor, "BEAT", 0.02)
    waits = {"log": folder / "log", "name": BY_SNAKEMAKE}
    held = folder_scheduler.submit(["true"], state="PENDING", reason="held", **waits)
    lost = folder_scheduler.submit(["touch", str(folder / "ran")], state="PREEMPTED", **waits)
    # of another Snakemake
    other = folder_scheduler.submit(["touch", str(folder / "other")], state="PREEMPTED", **waits)
    act = {"says": f"Job 3 is job {lost} of the folder\n", "seconds": 2}
    command = snakemake_made.command(folder, act)
    orders = Orders(folder=folder, command=command, look=0.05, patience=60.0, restarts=2)
    assert Controller(orders, scheduler=folder_scheduler).run() == 0
    printed = capsys.readouterr().out
    assert printed.count(f"job {held} cannot start (held)") == 1
    assert f"job {lost} was preempted for good; put back into the queue" in printed
    until((folder / "ran").exists)
    assert folder_scheduler.restarts(lost) == 1
    assert folder_scheduler.preempted(folder) == {other}


def test_status_lists_its_jobs_and_counts_its_hours(folder: Path, library: Path):
    fits = [job for job in jobs(study_config.load(small_config())) if job.rule == "finetune"]
    (folder / ".snakemake" / "folder_logs").mkdir(parents=True)
    written(folder / fits[0].log, "training\n")
    asked = {"log": folder / "log", "name": BY_SNAKEMAKE}
    runs = folder_scheduler.submit(["sleep", "60"], comment=fits[0].comment, gpus=2, **asked)
    waits = folder_scheduler.submit([], comment=fits[1].comment, state="PENDING", reason="full", **asked)
    page = called(library, "status", "--config", "config.yaml")
    assert f"Folder job {runs} on localhost" in page
    assert f"{fits[1].title}: Folder job {waits}: full" in page
    assert "Folder has 2 jobs of this folder." in page
    assert "GPU-hours (Folder accounting)" in page


def test_a_controller_job_is_submitted_requeued_listed_and_cancelled(folder: Path, library: Path):
    """Its time is over again and again while a Snakemake waits for its jobs; the next Snakemake goes on."""
    command = snakemake_made.command(folder, *[{"seconds": 60}] * 9)
    subprocess.run([sys.executable, "-c", STARTS, *command], check=True, capture_output=True)
    until(lambda: snakemake_made.starts(folder) >= 2)
    log = folder / "logs" / "controller" / "1" / "1_0_log.out"
    assert "time is nearly over: Snakemake is stopped" in log.read_text()
    state = r"The controller is job 1: RUNNING localhost, requeued [1-8] times?\.\nLog: logs/controller/1/1_0_log\.out"
    assert re.match(state, called(library, "submit", "status"))
    assert "Ended job 1; cancelled 0 jobs" in called(library, "submit", "cancel")


def test_without_any_scheduler_all_are_named(library: Path):
    command = [sys.executable, str(library / "submit.py"), "status"]
    environment = {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(library)}
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert process.returncode == 2
    assert process.stderr.startswith("headwater submit status: there is no Folder or SLURM here: FOLDER_QUEUE is not")
