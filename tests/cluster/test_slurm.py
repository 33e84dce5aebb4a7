"""Where no SLURM can be started the reason is said, and no process but our own is ended; needs no SLURM."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import slurm


@pytest.fixture
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of names as a machine has it."""
    file = tmp_path_factory.mktemp("hosts") / "hosts"
    file.write_text("127.0.0.1 localhost\n10.0.0.1 node1.hospital.example\n")
    return file


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hosts: Path) -> Path:
    """A machine on which a SLURM could be started, and its folder of configuration."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(slurm, "ETC", tmp_path)
    # a cluster that is at work keeps its names and its user
    monkeypatch.setattr(slurm, "HOSTS", hosts)
    monkeypatch.setattr(slurm, "MARK", "headwater-test-cluster of a test")
    return tmp_path


@pytest.mark.usefixtures("able")
def test_nothing_stands_in_the_way_of_root_with_the_packages():
    assert slurm.obstacle() is None


@pytest.mark.usefixtures("able")
def test_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in slurm.obstacle()


@pytest.mark.usefixtures("able")
def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None if name == "slurmdbd" else name)
    assert slurm.obstacle() == "slurmdbd not installed: python tests/cluster/slurm.py install"


def test_the_configuration_of_another_cluster_is_left_alone(able: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slurm, "ROOT", able / "state")
    for name in ("slurm.conf", "gres.conf"):
        (able / name).write_text("ClusterName=hospital\n")
    assert "belongs to another cluster" in slurm.obstacle()
    with pytest.raises(SystemExit, match="belongs to another cluster"):
        slurm.start()
    slurm.stop()
    assert {file.name for file in able.iterdir()} == {"slurm.conf", "gres.conf"}
    (able / "slurm.conf").write_text(f"# {slurm.MARK}\n")
    assert slurm.obstacle() is None
    slurm.stop()
    assert not list(able.iterdir())


@pytest.mark.usefixtures("able")
def test_the_names_of_the_nodes_come_and_go(hosts: Path):
    before = hosts.read_text()
    for _ in range(2):
        slurm._names()
    assert hosts.read_text() == before + "".join(f"127.0.0.1 {node} # {slurm.MARK}\n" for node in slurm.NODES)
    slurm._forget_names()
    assert hosts.read_text() == before


@pytest.mark.usefixtures("able")
def test_localhost_is_found_while_the_names_of_the_nodes_come_and_go(hosts: Path):
    """Without localhost, which a former version lost for a moment, no two processes of a training meet."""
    come_and_go = threading.Thread(target=lambda: [write() for write in [slurm._names, slurm._forget_names] * 500])
    come_and_go.start()
    seen = set()
    while come_and_go.is_alive():
        seen.add("127.0.0.1 localhost\n" in hosts.read_text())
    # the thread has ended before an assertion can undo that these names stand in a file of the test
    assert seen == {True}


def test_the_last_of_several_users_stops_what_was_started_for_them(able: Path, monkeypatch: pytest.MonkeyPatch):
    root = able / "state"
    monkeypatch.setattr(slurm, "ROOT", root)
    for name in ("LOCK", "USERS"):
        monkeypatch.setattr(slurm, name, able / name)
    told = []
    monkeypatch.setattr(slurm, "answers", root.exists)
    monkeypatch.setattr(slurm, "_start", lambda: (told.append("start"), root.mkdir()))
    monkeypatch.setattr(slurm, "_stop", lambda: told.append("stop"))
    with slurm.in_use():
        with slurm.in_use():
            pass
        assert told == ["start"]
    assert told == ["start", "stop"]


def test_the_configuration_bears_the_mark():
    assert slurm.MARK in (slurm.TEMPLATES / "slurm.conf").read_text()


@pytest.mark.usefixtures("able")
def test_a_user_of_the_machine_is_not_taken_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slurm, "USER", "root")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a user is taken away"))
    slurm._forget_user()


def test_a_number_that_went_to_another_program_is_not_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(slurm, "ROOT", tmp_path)
    (tmp_path / "number").mkdir()
    program = [sys.executable, "-c", "print(flush=True); input()"]
    other = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        other.stdout.readline()
        (tmp_path / "number" / "munged").write_text(f"{other.pid} munged")
        slurm._end("munged")
        assert other.poll() is None
        (tmp_path / "number" / "munged").write_text(f"{other.pid} python")
        slurm._end("munged")
        assert other.wait(timeout=10) < 0
    finally:
        other.kill()
        other.communicate()
