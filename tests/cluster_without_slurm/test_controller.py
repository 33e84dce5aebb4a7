"""The controller with a made Snakemake and SLURM: what would wait for ever is mended, and no two controllers live."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import snakemake_made
from headwater.cluster import controller_lock, submit, supervisor
from headwater.cluster.schedulers import slurm
from headwater.cluster.supervisor import Controller, Orders
from headwater.core import processes
from headwater.core.errors import UserError
from workflow_made import ROOT

NAME = "headwater_0a1b2c3d-0000-0000-0000-000000000000"
SUBMITTED = "Job 3 has been submitted with SLURM jobid 12 (log: 12.log).\n"
FAILED = """Error in rule finetune:
    message: None
    jobid: {number}
    log: logs/{number}.log (check log file(s) for error details)
Logfile logs/{number}.log:
==========
    jobid: 0
    log: inner.log (check log file(s) for error details)
==========
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with SLURM's commands on the path, in which a controller beats fast."""
    programs = snakemake_made.slurm_made(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), *os.get_exec_path()]))
    monkeypatch.setattr(supervisor, "BEAT", 0.02)
    return tmp_path


def orders(folder: Path, *acts: dict) -> Orders:
    """Orders to look often, with a patience of a second."""
    command = snakemake_made.command(folder, *acts)
    return Orders(folder=folder, command=command, look=0.05, patience=1.0, restarts=2)


def job(number: str, state: str, folder: Path) -> str:
    """A line of squeue."""
    return f"{number}|{state}|None|{NAME}|{folder}|\n"


def test_a_snakemake_that_ends_well_ends_all(folder: Path, capsys: pytest.CaptureFixture):
    assert Controller(orders(folder, {"says": SUBMITTED}), scheduler=slurm).run() == 0
    assert snakemake_made.starts(folder) == 1
    assert controller_lock.read(folder) is None
    assert "failed" not in capsys.readouterr().out


def test_what_failed_for_good_is_listed_and_the_exit_code_passed_on(folder: Path, capsys: pytest.CaptureFixture):
    said = FAILED.format(number=3) + FAILED.format(number=4) + "Finished jobid: 4 (Rule: finetune)\n"
    assert Controller(orders(folder, {"says": said, "exits": 1}), scheduler=slurm).run() == 1
    assert "failed for good: logs/3.log\n" in capsys.readouterr().out
    assert snakemake_made.starts(folder) == 1


def test_a_job_preempted_by_cancelling_is_put_back(folder: Path, capsys: pytest.CaptureFixture):
    (folder / "queue").write_text(job("13", "RUNNING", folder))
    # 14 is another controller's, 15 of another folder
    (folder / "preempted").write_text(f"12|{folder}\n14|{folder}\n15|/elsewhere\n")
    assert (
        Controller(orders(folder, {"says": SUBMITTED, "seconds": 10, "until": "requeue"}), scheduler=slurm).run() == 0
    )
    assert set(snakemake_made.calls(folder, "scontrol")) == {"scontrol requeue 12"}
    assert "job 12 was preempted for good; put back" in capsys.readouterr().out


def test_a_job_that_passes_through_preemption_is_left_to_slurm(folder: Path):
    (folder / "preempted").write_text(f"12|{folder}\n")
    (folder / "passing").touch()
    (folder / "queue").write_text(job("12", "PENDING", folder))
    assert Controller(orders(folder, {"says": SUBMITTED, "seconds": 1.5}), scheduler=slurm).run() == 0
    assert not (folder / "preempted").exists()
    assert not snakemake_made.calls(folder, "scontrol")


def test_snakemake_is_started_again_where_slurm_refuses_to_put_back(folder: Path, capsys: pytest.CaptureFixture):
    (folder / "preempted").write_text(f"12|{folder}\n")
    (folder / "refuses").touch()
    assert Controller(orders(folder, {"says": SUBMITTED, "seconds": 60}, {}), scheduler=slurm).run() == 0
    assert snakemake_made.starts(folder) == 2
    assert "job 12 was preempted for good and cannot be put back (scontrol says" in capsys.readouterr().out


def test_a_snakemake_that_waits_for_nothing_is_started_again(folder: Path, capsys: pytest.CaptureFixture):
    assert Controller(orders(folder, {"says": SUBMITTED, "seconds": 60}, {}), scheduler=slurm).run() == 0
    assert snakemake_made.starts(folder) == 2
    assert "SLURM has had none of its jobs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "hindrance"),
    [(SUBMITTED, "job"), (SUBMITTED, "silent"), ("Building DAG of jobs...\n", "no job yet")],
)
def test_it_is_left_alone_while_something_may_still_come(folder: Path, said: str, hindrance: str):
    if hindrance == "job":
        (folder / "queue").write_text(job("12", "PENDING", folder))
    if hindrance == "silent":
        (folder / "silent").touch()
    assert Controller(orders(folder, {"says": said, "seconds": 2.5}), scheduler=slurm).run() == 0
    assert snakemake_made.starts(folder) == 1


def test_a_slurm_that_does_not_answer_is_said_once(folder: Path, capsys: pytest.CaptureFixture):
    (folder / "silent").touch()
    assert Controller(orders(folder, {"says": SUBMITTED, "seconds": 1}), scheduler=slurm).run() == 0
    assert capsys.readouterr().out.count("slurm_load_jobs error") == 1


def test_a_job_that_does_not_come_to_its_end_is_said_once(folder: Path, capsys: pytest.CaptureFixture):
    (folder / "queue").write_text(job("12", "COMPLETING", folder))
    assert Controller(orders(folder, {"says": SUBMITTED, "seconds": 2}), scheduler=slurm).run() == 0
    assert capsys.readouterr().out.count("job 12 has been COMPLETING") == 1


def test_a_command_of_slurm_that_hangs_is_ended(folder: Path, capsys: pytest.CaptureFixture):
    began = time.monotonic()
    assert Controller(orders(folder, {"submits": True}), scheduler=slurm).run() == 0
    assert time.monotonic() - began < 30
    assert "sbatch has not answered" in capsys.readouterr().out


def test_starting_again_in_vain_has_an_end(folder: Path, capsys: pytest.CaptureFixture):
    acts = [{"dies": signal.SIGKILL}] * 5
    assert Controller(orders(folder, *acts), scheduler=slurm).run() == 1
    assert snakemake_made.starts(folder) == 3
    said = capsys.readouterr().out.splitlines()
    assert "SIGKILL; started again 2 times and no job has finished since: giving up" in said[-1]
    assert controller_lock.read(folder) is None


def test_starting_again_goes_on_while_jobs_finish(folder: Path):
    acts = [{"dies": signal.SIGKILL, "product": True, "seconds": 0.05}] * 4
    assert Controller(orders(folder, *acts, {}), scheduler=slurm).run() == 0
    assert snakemake_made.starts(folder) == 5


def test_snakemake_sees_nothing_of_the_controllers_own_job(folder: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("SLURM_JOB_ID", "SBATCH_TIMELIMIT", "SRUN_CPUS_PER_TASK", "SLURM_CONF"):
        monkeypatch.setenv(name, "1")
    Controller(orders(folder, {}), scheduler=slurm).run()
    seen = json.loads((folder / "starts").read_text())["environment"]
    assert {name for name in seen if name.startswith(("SLURM_", "SBATCH_", "SRUN_"))} == {"SLURM_CONF"}


# one controller at a time


def claimed(folder: Path, *, number: str | None = None, host: str | None = None) -> controller_lock.Claim:
    """The claim of a controller that this process has made."""
    (folder / ".snakemake").mkdir(exist_ok=True)
    claim = replace(controller_lock.of_this_process(job=number, command=[]), **({"host": host} if host else {}))
    controller_lock.take(folder, claim, scheduler=slurm)
    return claim


@pytest.mark.parametrize(("number", "host"), [("7", None), (None, None), (None, "another")])
def test_a_second_controller_is_refused(folder: Path, number: str | None, host: str | None):
    claimed(folder, number=number, host=host)
    (folder / "living").write_text("7\n")
    with pytest.raises(UserError, match=r"already runs the study of this folder; see .*(cancel|rm )"):
        Controller(orders(folder, {}), scheduler=slurm, job="8").run()
    assert snakemake_made.starts(folder) == 0


def test_a_job_that_was_put_back_meets_its_own_claim(folder: Path):
    claimed(folder, number="7")
    (folder / "living").write_text("7\n")
    assert Controller(orders(folder, {}), scheduler=slurm, job="7").run() == 0


def test_the_lock_of_the_dead_is_taken_away(folder: Path):
    claimed(folder, number="7")
    lock = folder / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir()
    lock.touch()
    assert Controller(orders(folder, {}), scheduler=slurm, job="8").run() == 0
    assert not lock.exists()


@pytest.mark.parametrize("before", [None, 3600])
def test_the_lock_of_a_snakemake_started_by_hand_is_left(folder: Path, before: float | None):
    lock = folder / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    if before:
        claimed(folder, number="7")
        long_ago = time.time() - before
        os.utime(folder / ".snakemake" / "controller.json", (long_ago, long_ago))
    with pytest.raises(UserError, match=r"locked by a Snakemake that `headwater submit` did not start"):
        Controller(orders(folder, {}), scheduler=slurm, job="8").run()
    assert lock.exists()


def test_a_number_that_went_to_another_process_is_not_taken_for_the_first():
    mine = processes.process(os.getpid())
    assert processes.lives(mine.mark)
    assert not processes.lives(dataclasses.replace(mine, birth=mine.birth - 60).mark)


# in a shell of its own

SHELL = """
import sys
from pathlib import Path
from headwater.cluster import schedulers, submit
from headwater.cluster.supervisor import Orders
orders = Orders(folder=Path.cwd(), command=tuple(sys.argv[1:]), look=0.1, patience=60.0, restarts=2)
submit._orders = lambda *_, **__: orders
submit._scheduler_for = lambda config: schedulers.in_force()
submit.watch(config=Path("config.yaml"))
"""


def watching(folder: Path) -> tuple[subprocess.Popen, str]:
    """A controller in a process of its own, and the mark of its Snakemake, which is at work."""
    command = snakemake_made.command(folder, {"seconds": 60})
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    shell = subprocess.Popen(
        [sys.executable, "-c", SHELL, *command], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not (folder / ".snakemake" / "locks" / "0.output.lock").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    number = json.loads((folder / "starts").read_text())["process"]
    return shell, processes.process(number).mark


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_snakemake_outlives_its_controller(folder: Path, number: signal.Signals):
    shell, mark = watching(folder)
    shell.send_signal(number)
    said, _ = shell.communicate(timeout=30)
    assert shell.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert ("its jobs go on" in said) == (number != signal.SIGKILL)
    deadline = time.monotonic() + 10
    while processes.lives(mark):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not controller_lock.lives(controller_lock.read(folder), scheduler=slurm)


def test_the_first_interrupt_lets_snakemake_cancel_its_jobs(folder: Path):
    shell, _ = watching(folder)
    shell.send_signal(signal.SIGINT)
    said, _ = shell.communicate(timeout=30)
    assert "Snakemake cancels its jobs" in said
    # the made one dies of it, and is not started again
    assert shell.returncode == 130
    assert snakemake_made.starts(folder) == 1
    assert controller_lock.read(folder) is None


def test_a_controller_in_another_shell_is_cancelled_with_its_jobs(folder: Path, monkeypatch: pytest.MonkeyPatch):
    shell, mark = watching(folder)
    (folder / "queue").write_text(job("12", "RUNNING", folder))
    monkeypatch.chdir(folder)
    submit.cancel()
    assert shell.wait(timeout=30) == 128 + signal.SIGTERM
    shell.stdout.close()
    assert not processes.lives(mark)
    assert snakemake_made.calls(folder, "scancel") == ["scancel 12"]
    assert controller_lock.read(folder) is None
    assert not list((folder / ".snakemake" / "locks").iterdir())
