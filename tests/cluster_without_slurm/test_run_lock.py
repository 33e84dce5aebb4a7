"""One SLURM job at a time trains a run: a newcomer ends the one before; nobody guesses what SLURM leaves unsaid."""

import errno
import json
import multiprocessing
import os
from pathlib import Path

import pytest

from headwater.cluster import run_lock, schedulers, session, waiting
from headwater.cluster.schedulers import Absent, Silent, slurm
from headwater.core.errors import UserError
from slurm_made import FakeSlurm, slurm_in

RUNNING = {"state": "RUNNING", "restarts": 0}


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.setattr(waiting, "BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(waiting, "BETWEEN_TRIES", 0.01)
    return slurm_in(tmp_path / "slurm", monkeypatch)


def events(progress: Path) -> list[tuple[str, str]]:
    """(job, event) of each line of the record."""
    lines = [json.loads(line) for line in progress.with_name(run_lock.LOG).read_text().splitlines()]
    assert {line["run"] for line in lines} == {progress.stem}
    return [(line["job"], line["event"]) for line in lines]


def test_a_lease_is_held_and_given_back(tmp_path: Path, queue: FakeSlurm):
    progress = tmp_path / "progress" / "abc.pt"
    queue.jobs = {"7": RUNNING}
    with run_lock.held(progress, scheduler=slurm, job="7") as outcome:
        assert run_lock.holder(progress) == "7"
        outcome["code"] = 143
    assert run_lock.holder(progress) is None
    assert events(progress) == [("7", "began"), ("7", "ended")]
    assert json.loads(progress.with_name(run_lock.LOG).read_text().splitlines()[1])["code"] == 143


def test_a_newcomer_ends_the_job_before_it(tmp_path: Path, queue: FakeSlurm):
    progress = tmp_path / "abc.pt"
    queue.jobs = {"7": RUNNING, "8": RUNNING}
    # as a job that is killed does: it never gives its lease back
    run_lock._claimed(progress, scheduler=slurm, job="7")
    with run_lock.held(progress, scheduler=slurm, job="8"):
        assert set(queue.jobs) == {"8"}
        assert run_lock.holder(progress) == "8"
    assert events(progress) == [("8", "cancels"), ("8", "began"), ("8", "ended")]


def test_nobody_is_cancelled_who_has_ended_by_himself(tmp_path: Path, queue: FakeSlurm):
    progress = tmp_path / "abc.pt"
    run_lock._claimed(progress, scheduler=slurm, job="7")
    queue.jobs = {"8": RUNNING}
    with run_lock.held(progress, scheduler=slurm, job="8"):
        pass
    with run_lock.held(progress, scheduler=slurm, job="9"):
        pass
    assert not [asked for asked in queue.asked if asked[0] == "scancel"]


def test_a_job_that_slurm_starts_again_takes_its_own_lease(tmp_path: Path, queue: FakeSlurm):
    progress = tmp_path / "abc.pt"
    queue.jobs = {"7": {"state": "RUNNING", "restarts": 1}}
    run_lock._claimed(progress, scheduler=slurm, job="7")
    with run_lock.held(progress, scheduler=slurm, job="7"):
        pass
    assert set(queue.jobs) == {"7"}
    assert json.loads(progress.with_name(run_lock.LOG).read_text().splitlines()[0])["restart"] == 1


def test_who_ends_too_slowly_is_named_and_nothing_is_claimed(
    tmp_path: Path, queue: FakeSlurm, monkeypatch: pytest.MonkeyPatch
):
    progress = tmp_path / "abc.pt"
    queue.jobs = {"7": RUNNING}
    run_lock._claimed(progress, scheduler=slurm, job="7")
    (queue.folder / "scancel").write_text("#!/bin/sh\n")
    monkeypatch.setattr(waiting.end, "__kwdefaults__", {"patience": 0.05})
    with pytest.raises(UserError, match="jobs 7 were cancelled and have not ended"):
        run_lock._claimed(progress, scheduler=slurm, job="8")
    assert run_lock.holder(progress) == "7"


def test_a_slurm_that_is_away_is_waited_for(tmp_path: Path, queue: FakeSlurm):
    progress = tmp_path / "abc.pt"
    queue.jobs = {"7": RUNNING, "8": RUNNING}
    run_lock._claimed(progress, scheduler=slurm, job="7")
    queue.away(3)
    run_lock._claimed(progress, scheduler=slurm, job="8")
    assert set(queue.jobs) == {"8"}


def test_a_slurm_that_stays_away_ends_nothing(tmp_path: Path, queue: FakeSlurm, monkeypatch: pytest.MonkeyPatch):
    progress = tmp_path / "abc.pt"
    run_lock._claimed(progress, scheduler=slurm, job="7")
    monkeypatch.setattr(waiting, "LONGEST", 0.05)
    queue.away(10**6)
    with pytest.raises(Silent, match="Unable to contact slurm controller"):
        run_lock._claimed(progress, scheduler=slurm, job="8")
    assert sorted(file.name for file in tmp_path.glob("abc*")) == ["abc.pt.lease.1"]


def claim(progress: Path, job: str, barrier) -> None:
    barrier.wait()
    os._exit(run_lock._claimed(progress, scheduler=slurm, job=job))


def test_of_many_who_come_at_once_each_gets_a_number_of_its_own(tmp_path: Path, queue: FakeSlurm):
    progress = tmp_path / "abc.pt"
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(8)
    # none of them is in the queue, so that each takes the others for ended and wants the lease at once
    several = [fork.Process(target=claim, args=(progress, str(job), barrier)) for job in range(8)]
    for one in several:
        one.start()
    for one in several:
        one.join(timeout=60)
    assert sorted(one.exitcode for one in several) == list(range(1, 9))
    assert [file.name for file in tmp_path.glob(".*lease*")] == []
    # a number that was free again could be taken twice
    assert sorted(file.suffix for file in tmp_path.glob("abc*")) == [f".{number}" for number in range(1, 9)]


def test_only_what_a_former_snakemake_of_this_study_left_is_ended(tmp_path: Path, queue: FakeSlurm):
    former, other = (f"headwater_01234567-89ab-cdef-0123-45678900000{digit}" for digit in "12")
    job = {"state": "PENDING", "name": former, "folder": str(tmp_path)}
    queue.jobs = {"1": job, "2": job | {"state": "RUNNING"}, "3": job | {"name": other}, "4": job | {"name": "mine"}}
    sessions = tmp_path / "progress" / "sessions"
    # of the first start nothing is known
    session.end_former(sessions, session=former)
    assert set(queue.jobs) == {"1", "2", "3", "4"}
    # a start on this machine alone ends them as well, and has no name for jobs
    session.end_former(sessions, session=None)
    assert set(queue.jobs) == {"3", "4"}
    session.end_former(sessions, session="headwater_next")
    assert sessions.read_text() == "headwater_next\n"


def test_what_does_not_end_is_left_to_the_leases_and_remembered(
    tmp_path: Path, queue: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    queue.jobs = {"1": {"state": "COMPLETING", "name": "former", "folder": str(tmp_path)}}
    (queue.folder / "scancel").write_text("#!/bin/sh\n")
    monkeypatch.setattr(waiting.end, "__kwdefaults__", {"patience": 0.05})
    (tmp_path / "sessions").write_text("former\n")
    session.end_former(tmp_path / "sessions", session="next")
    assert "jobs 1 were cancelled and have not ended" in capsys.readouterr().err
    assert (tmp_path / "sessions").read_text().split() == ["former", "next"]


def test_without_slurm_there_is_nothing_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "sessions").write_text("former\n")
    session.end_former(tmp_path / "sessions", session=None)
    assert (tmp_path / "sessions").read_text() == "former\n"


def test_a_comment_of_several_lines_is_no_job(tmp_path: Path, queue: FakeSlurm):
    queue.jobs = {"1": {"state": "RUNNING", "name": "two\nlines|of it", "folder": str(tmp_path)}}
    assert slurm.queued() == []


def test_half_a_line_and_a_full_disk_spoil_neither_the_record_nor_the_training(
    tmp_path: Path, queue: FakeSlurm, monkeypatch: pytest.MonkeyPatch
):
    progress = tmp_path / "abc.pt"
    progress.with_name(run_lock.LOG).write_text('{"time": 1, "ru')
    queue.jobs = {"7": RUNNING}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with run_lock.held(progress, scheduler=slurm, job="7") as outcome:
        outcome["code"] = 0
        monkeypatch.setattr(run_lock, "note", full)
    lines = progress.with_name(run_lock.LOG).read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines[1:]] == ["began"]


def test_the_record_tells_whether_progress_was_saved(tmp_path: Path, queue: FakeSlurm):
    progress = tmp_path / "abc.pt"
    queue.jobs = {"7": RUNNING}
    for write in (False, True, False):
        with run_lock.held(progress, scheduler=slurm, job="7"):
            if write:
                progress.write_bytes(b"saved")
    lines = [json.loads(line) for line in progress.with_name(run_lock.LOG).read_text().splitlines()]
    assert [line["saved"] for line in lines if line["event"] == "ended"] == [False, True, False]


def test_outside_a_job_a_silent_slurm_is_not_taken_for_an_absent_one(queue: FakeSlurm, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    queue.away(1)
    with pytest.raises(Silent, match="Unable to contact"):
        schedulers.in_force()
    assert schedulers.in_force() is slurm
    assert schedulers.of_this_job() is None


def test_inside_a_job_nobody_is_asked(queue: FakeSlurm, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    queue.away(10)
    assert schedulers.in_force() is schedulers.of_this_job() is slurm
    assert queue.asked == []


def test_names_of_jobs_may_be_in_any_encoding(queue: FakeSlurm):
    (queue.folder / "squeue").write_bytes(b"#!/bin/sh\nprintf '7|RUNNING|None|M\\374ller|/there|\\n'\n")
    (queue.folder / "squeue").chmod(0o755)
    assert [job.number for job in slurm.queued()] == ["7"]


def test_commands_without_a_cluster_are_no_slurm(tmp_path: Path, queue: FakeSlurm):
    says = "squeue: fatal: Could not establish a configuration source"
    (queue.folder / "squeue").write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 1\n")
    with pytest.raises(Absent, match="squeue belongs to no cluster"):
        slurm.queued()
    with pytest.raises(Absent, match="there is no SLURM here: squeue belongs to no cluster; use a login node"):
        schedulers.in_force()
    (tmp_path / "sessions").write_text("former\n")
    session.end_former(tmp_path / "sessions", session=None)
