"""A training is started with the processes that it asks for, on GPUs of its own, and hears the signals of SLURM."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from headwater.cluster import launch
from headwater.core.errors import UserError
from slurm_made import FakeSlurm, slurm_in
from workflow_made import ROOT

LAUNCH = ROOT / "scripts" / "launch.py"
TELLS = """
import json, os, signal, sys, time
from pathlib import Path
rank = os.environ.get("RANK", "0")
Path(sys.argv[1], rank + ".json").write_text(json.dumps([os.environ.get("WORLD_SIZE"), sys.argv[2:], dict(os.environ)]))
if "wait" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    Path(sys.argv[1], "ready").touch()
    time.sleep(60)
sys.exit(int(os.environ.get("CODE", "0")))
"""


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    """A training that writes down how it was started."""
    (tmp_path / "tells.py").write_text(TELLS)
    return [str(tmp_path / "tells.py"), str(tmp_path)]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A SLURM job of two nodes that we are in."""
    queue = slurm_in(tmp_path / "slurm", monkeypatch)
    queue.jobs = {"12": {"state": "RUNNING", "nodes": "localhost,localhost", "restarts": 0}}
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_NNODES", "1")
    return queue


def launched(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(LAUNCH), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def told(folder: Path) -> dict[str, list]:
    """What each rank wrote down."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("?.json"))}


@pytest.fixture
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.mark.usefixtures("no_slurm")
def test_one_process_is_the_training_itself(tmp_path: Path, script: list[str]):
    process = launched("--threads", "3", "--compile", "--fsdp", "--", *script, "--run", "{}", CODE="7")
    assert process.returncode == 7
    [(size, arguments, _)] = told(tmp_path).values()
    assert size is None
    assert arguments == ["--run", "{}", "--threads", "3", "--compile", "--fsdp"]


@pytest.mark.usefixtures("no_slurm")
def test_several_processes_are_ranks(tmp_path: Path, script: list[str]):
    process = launched("--ranks", "2", "--", *script, "--run", "{}")
    assert process.returncode == 0, process.stderr
    assert {rank: (size, arguments) for rank, (size, arguments, _) in told(tmp_path).items()} == {
        rank: ("2", ["--run", "{}", "--threads", "1"]) for rank in "01"
    }


@pytest.mark.usefixtures("no_slurm")
def test_several_nodes_need_slurm(script: list[str]):
    process = launched("--ranks", "2", "--nodes", "2", "--", *script)
    assert process.returncode == 2
    assert process.stderr == "headwater launch: 2 nodes need SLURM; set compute.nodes: 1, or use profiles/slurm\n"


def test_in_a_job_the_training_is_a_step_that_holds_the_lease(tmp_path: Path, script: list[str], job: FakeSlurm):
    progress = tmp_path / "progress" / "abc.pt"
    process = launched("--threads", "2", "--lease", str(progress), "--", *script, CODE="5")
    assert process.returncode == 5, process.stderr
    step = next(asked for asked in job.asked if asked[0] == "srun")
    assert {"--overlap", "--nodes=1", "--ntasks=1", "--cpus-per-task=2", "--kill-on-bad-exit=1"} <= set(step)
    # srun would take what the step around us says for the size of the job
    [(_, _, environment)] = told(tmp_path).values()
    assert environment["SLURM_JOB_ID"] == "12"
    assert "SLURM_NNODES" not in environment
    lines = [json.loads(line) for line in (tmp_path / "progress" / "leases.jsonl").read_text().splitlines()]
    assert [(line["event"], line.get("code")) for line in lines] == [("began", None), ("ended", 5)]


def test_two_nodes_meet_and_are_one_world(tmp_path: Path, script: list[str], job: FakeSlurm):
    process = launched("--ranks", "4", "--nodes", "2", "--", *script, "--run", '{"name":"a b"}')
    assert process.returncode == 0, process.stderr
    ranks = told(tmp_path)
    assert list(ranks) == ["0", "1", "2", "3"]
    assert {size for size, _, _ in ranks.values()} == {"4"}
    assert all(arguments[:2] == ["--run", '{"name":"a b"}'] for _, arguments, _ in ranks.values())
    assert [ranks[rank][2]["SLURM_NODEID"] for rank in "0123"] in (["0", "0", "1", "1"], ["1", "1", "0", "0"])


@pytest.mark.parametrize("ranks", ["1", "2"])
def test_a_signal_reaches_the_training(tmp_path: Path, script: list[str], job: FakeSlurm, ranks: str):
    # a step has one process for each task, and SLURM signals that one only
    skip = "while case $1 in -*) true;; *) false;; esac; do shift; done"
    (job.folder / "srun").write_text(f'#!/bin/sh\n{skip}; exec "$@"\n')
    process = subprocess.Popen([sys.executable, str(LAUNCH), "--ranks", ranks, "--", *script, "wait"])
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) != 0


def gpus_of(*arguments: str) -> subprocess.Popen:
    """A training that holds its GPUs until its input ends, and prints which they are."""
    code = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True); input()"
    return subprocess.Popen(
        [sys.executable, str(LAUNCH), *arguments, "--", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.usefixtures("no_slurm")
def test_trainings_of_one_machine_get_gpus_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'GPU 0: one (UUID: a)'\necho 'GPU 1: two (UUID: b)'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    first, second = gpus_of("--gpus", "1"), gpus_of("--gpus", "1")
    assert {first.stdout.readline(), second.stdout.readline()} == {"0\n", "1\n"}
    third = gpus_of("--gpus", "1")
    assert third.stderr.readline() == "headwater launch: waiting for 1 of 2 GPUs\n"
    first.communicate("\n", timeout=60)
    assert third.stdout.readline() in {"0\n", "1\n"}
    for one in (second, third):
        one.communicate("\n", timeout=60)


def test_more_gpus_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(UserError, match="4 processes need 4 GPUs, here are 2; lower"):
        launch._own_gpus(4)


@pytest.mark.parametrize("named", ["", "-1"])
def test_where_gpus_are_hidden_none_is_taken(monkeypatch: pytest.MonkeyPatch, named: str):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert launch._own_gpus(1) == {}


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which locks of GPUs will lie, not made yet; two GPUs may be used."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    return tmp_path / f"headwater-{os.getuid()}"


def test_locks_of_gpus_lie_in_a_folder_of_the_user_and_obey_the_umask(locks: Path):
    before = os.umask(0o077)
    try:
        assert launch._own_gpus(1) == {"CUDA_VISIBLE_DEVICES": "0"}
    finally:
        os.umask(before)
    assert stat.S_IMODE(locks.stat().st_mode) == 0o700
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in locks.iterdir()} == {
        "gpu-0.lock": 0o600,
        "gpu-1.lock": 0o600,
    }


def test_a_link_in_place_of_a_lock_is_not_followed(locks: Path, tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o600)
    locks.mkdir(mode=0o700)
    (locks / "gpu-0.lock").symlink_to(victim)
    with pytest.raises(UserError, match=r"gpu-0\.lock: cannot be opened: .*; remove it"):
        launch._own_gpus(1)
    (locks / "gpu-0.lock").unlink()
    (locks / "gpu-0.lock").symlink_to(tmp_path / "absent")
    with pytest.raises(UserError, match=r"gpu-0\.lock: cannot be opened"):
        launch._own_gpus(1)
    assert victim.read_text() == "mine" and stat.S_IMODE(victim.stat().st_mode) == 0o600
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("planted", ["link", "file", "writable by all"])
def test_a_folder_of_locks_that_is_not_the_users_alone_is_refused(locks: Path, tmp_path: Path, planted: str):
    if planted == "link":
        (tmp_path / "elsewhere").mkdir()
        locks.symlink_to(tmp_path / "elsewhere")
    elif planted == "file":
        locks.touch()
    else:
        locks.mkdir()
        locks.chmod(0o777)
    with pytest.raises(UserError, match="is not a folder that only you may write to; remove it, or set TMPDIR"):
        launch._own_gpus(1)
    assert not (tmp_path / "elsewhere").exists() or not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to other users")
def test_what_another_user_left_is_no_crash(locks: Path, tmp_path: Path):
    # the locks of versions before lay beside each other, open to all
    (tmp_path / "headwater-gpu-0.lock").symlink_to("/etc/passwd")
    (tmp_path / "headwater-gpu-1.lock").touch(mode=0o000)
    (tmp_path / "headwater-1").mkdir()
    os.chown(tmp_path / "headwater-1", 1, 1)
    assert launch._own_gpus(2) == {"CUDA_VISIBLE_DEVICES": "0,1"}
    locks.rename(tmp_path / "ours")
    locks.mkdir(mode=0o700)
    os.chown(locks, 1, 1)
    with pytest.raises(UserError, match="is not a folder that only you may write to"):
        launch._own_gpus(1)
