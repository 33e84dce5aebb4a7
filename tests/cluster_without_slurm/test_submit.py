"""headwater submit: what the controller's job asks of SLURM, what is refused, and one run by hand."""

import json
import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

import snakemake_made
from headwater import cli
from headwater.cluster import controller_lock, debug_run, run_lock, submit
from headwater.cluster.schedulers import slurm
from headwater.core.errors import UserError
from headwater.study import config
from records_made import written
from workflow_made import ROOT, environment, small_config

RUN = "chestxray14/random/finetune/seed1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a config and SLURM's commands on the path."""
    programs = snakemake_made.slurm_made(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), *os.get_exec_path()]))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(small_config()))
    return tmp_path


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A controller changes what signals mean to its process; the tests after these live in the same one."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder on a machine without SLURM."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    return folder


CONFIG = Path("config.yaml")


def test_the_controller_is_a_small_job_that_may_be_put_back(folder: Path, capsys: pytest.CaptureFixture):
    submit.start(config=CONFIG, minutes=90, memory=1.5)
    script = (folder / "logs" / "controller" / "77" / "77_submission.sh").read_text()
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", script, re.MULTILINE))
    site = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.v9+.yaml").read_text())["default-resources"]
    assert (asked["account"], asked["partition"]) == (site["slurm_account"], site["slurm_partition"])
    assert {
        "requeue": "",
        "time": "90",
        "signal": "USR2@120",
        "cpus-per-task": "1",
        "mem": "1536MB",
    }.items() <= asked.items()
    assert not [name for name in asked if "gpu" in name or name == "gres"]
    assert controller_lock.read(folder).job == "77"
    said = capsys.readouterr().out
    assert "job 77" in said
    assert "logs/controller/77/77_0_log.out" in said
    assert "headwater submit cancel" in said


def test_the_job_finds_its_orders_and_goes_on_with_the_same(folder: Path):
    options = ["--partition", "long", "--snakemake", "--jobs 7 --until finetune", "--patience", "5"]
    cli.main(["submit", "start", str(CONFIG), *options])
    written = folder / "logs" / "controller" / "77" / "77_submitted.pkl"
    first = pickle.loads(written.read_bytes()).function
    orders = first.work._orders
    assert orders.command[-3:] == ("7", "--until", "finetune")
    assert (orders.folder, orders.patience) == (folder, 300)
    again = first.checkpoint()
    assert again.function.work._orders == orders
    assert again.function.work is not first.work


def test_a_second_start_is_refused_and_submits_nothing(folder: Path):
    (folder / "living").write_text("77\n")
    submit.start(config=CONFIG)
    with pytest.raises(UserError, match="job 77 already runs the study of this folder"):
        submit.start(config=CONFIG)
    assert len(snakemake_made.calls(folder, "sbatch")) == 1


def test_the_refusal_of_sbatch_is_told(folder: Path):
    (folder / "refuses").touch()
    with pytest.raises(UserError, match=r"sbatch rejected the controller: .*Invalid account.*; check --partition"):
        submit.start(config=CONFIG)
    assert controller_lock.read(folder) is None


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"minutes": 1}, "--minutes must be >= 2 (got 1)"),
        ({"profile": Path("profiles/slrm")}, "there is no profile profiles/slrm; did you mean 'profiles/slurm'?"),
        ({"config": Path("missing.yaml")}, "missing.yaml: there is no such config file"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict, said: str):
    with pytest.raises(UserError, match=re.escape(said)):
        submit.start(**{"config": CONFIG} | wrong)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("command", [["start", "--config", "config.yaml"], ["status"], ["cancel"]])
def test_no_slurm_is_one_line(command: list[str]):
    door = [sys.executable, str(ROOT / "scripts" / "submit.py")]
    process = subprocess.run([*door, *command], capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr.startswith(f"headwater submit {command[0]}: there is no SLURM here")
    assert process.stderr.count("\n") == 1


def test_status_and_logs(folder: Path, capsys: pytest.CaptureFixture):
    submit.status()
    assert capsys.readouterr().out.startswith("No controller")
    with pytest.raises(UserError, match="no controller has written a log here"):
        submit.logs()
    (folder / "living").write_text("77\n")
    submit.start(config=CONFIG)
    name = "headwater_0a1b2c3d-0000-0000-0000-000000000000"
    (folder / "queue").write_text(
        f"78|RUNNING|None|{name}|{folder}|\n79|RUNNING|None|{name}|{folder}|\n80|RUNNING|None|mine|{folder}|\n"
    )
    (folder / "logs" / "controller" / "77" / "77_0_log.out").write_text("one\ntwo\nthree\n")
    capsys.readouterr()
    submit.status()
    assert "The controller is job 77: RUNNING 0:15 node1, requeued 0 times." in capsys.readouterr().out
    submit.status()
    assert "Jobs of the study: 2 RUNNING\n" in capsys.readouterr().out
    submit.logs(lines=2)
    assert capsys.readouterr().out.endswith("77_0_log.out:\ntwo\nthree\n")


def test_cancel_ends_the_controller_and_then_its_jobs_alone(folder: Path, capsys: pytest.CaptureFixture):
    submit.start(config=CONFIG)
    (folder / "living").write_text("77\n")
    name = "headwater_0a1b2c3d-0000-0000-0000-000000000000"
    (folder / "queue").write_text(f"78|RUNNING|None|{name}|{folder}|\n80|RUNNING|None|mine|{folder}|\n")
    submit.cancel()
    assert snakemake_made.calls(folder, "scancel") == ["scancel 77", "scancel 78"]
    assert (folder / "queue").read_text().startswith("80|")
    assert "Ended job 77; cancelled 1 job of the study." in capsys.readouterr().out
    assert controller_lock.read(folder) is None


# one run by hand


def test_an_unknown_run_is_refused_with_the_nearest():
    grid = config.load(small_config()).grid()
    with pytest.raises(UserError, match="did you mean 'chestxray14/random/finetune/seed1'"):
        debug_run._run_named(grid, "chestxray14/randm/finetune/seed1")


@pytest.mark.usefixtures("folder")
def test_what_comes_before_a_run_is_named_where_it_is_missing():
    with pytest.raises(UserError, match=r"cannot be planned: .*cases\.parquet.* missing; run the study up to"):
        debug_run.one(RUN, config=CONFIG)


def test_a_run_that_a_living_job_trains_is_refused(folder: Path):
    run = debug_run._run_named(config.read(CONFIG).grid(), RUN)
    (folder / "living").write_text("12\n")
    progress = folder / "results" / "progress" / f"{run.digest}.pt"
    with (
        run_lock.held(progress, scheduler=slurm, job="12"),
        pytest.raises(UserError, match=f"job 12 is training {RUN}"),
    ):
        debug_run.one(RUN, config=CONFIG)


def test_a_run_that_may_be_in_training_is_refused_where_nobody_can_be_asked(elsewhere: Path):
    run = debug_run._run_named(config.read(CONFIG).grid(), RUN)
    written(elsewhere / "results" / "progress" / f"{run.digest}.pt.lease.1", '{"job": "12", "over": false}')
    with pytest.raises(UserError, match=f"{RUN} may be in training, and there is no SLURM here to ask; use a login"):
        debug_run.one(RUN, config=CONFIG)


def test_a_pre_training_goes_by_hand_too_and_a_bad_loss_is_replayed(folder: Path):
    source = config.read(CONFIG).grid().source("photographs")
    for file in ("archives/photographs/cases.parquet", "archives/photographs/images.npy", "ledger.parquet"):
        written(folder / "results" / file, "")
    written(folder / "results" / "corpora" / "photographs" / "everything.parquet", "")
    command = [sys.executable, str(ROOT / "scripts" / "submit.py"), "one", "photographs", "--config", "config.yaml"]

    def asked(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run([*command, *words], env=environment(), capture_output=True, text=True)

    assert "photographs has no step to replay: no attempt at it ended with a loss" in asked("--replay").stderr
    written(folder / "results" / "encoders" / "photographs" / "bad_loss.json", '{"step": 7}')
    process = asked("--replay")
    assert process.stderr.startswith("headwater pretrain: results/archives/photographs/cases.parquet: cannot be read")
    variable, *words = shlex.split(process.stdout.splitlines()[0])
    told = dict(pairwise(words))
    assert variable == "HEADWATER_REPLAYED_STEP=7"
    assert json.loads(told["--source"])["name"] == "photographs"
    assert told["--encoder"] == "results/by_hand/encoders/photographs.safetensors"
    assert told["--history"] == "results/by_hand/encoders/photographs"
    assert told["--progress"] == f"results/by_hand/progress/{source.digest}.pt"
    assert told["--cases"] == "results/archives/photographs/cases.parquet"
    assert not asked().stdout.startswith("HEADWATER")


def test_one_run_goes_by_the_command_of_the_grid_to_a_place_of_its_own(folder: Path):
    run = debug_run._run_named(config.read(CONFIG).grid(), RUN)
    for name in ("cases.parquet", "images.npy"):
        (folder / "results" / "archives" / "chestxray14").mkdir(parents=True, exist_ok=True)
        (folder / "results" / "archives" / "chestxray14" / name).touch()
    (folder / "results" / "ledger.parquet").touch()
    progress = folder / "results" / "progress" / f"{run.digest}.pt"
    progress.parent.mkdir()
    progress.write_text("saved")
    command = [sys.executable, str(ROOT / "scripts" / "submit.py"), "one", RUN, "--config", "config.yaml"]
    process = subprocess.run(command, env=environment(), capture_output=True, text=True)
    # the made inputs are empty
    assert process.stderr.startswith("headwater finetune: results/archives/chestxray14/cases.parquet: cannot be read")
    words = shlex.split(process.stdout.splitlines()[0])
    told = dict(pairwise(words))
    assert json.loads(told["--run"])["seed"] == 1
    assert told["--model"] == f"results/by_hand/{RUN}/model.safetensors"
    assert told["--lease"] == told["--progress"] == f"results/by_hand/progress/{run.digest}.pt"
    assert told["--cases"] == "results/archives/chestxray14/cases.parquet"
    assert (folder / told["--progress"]).read_text() == progress.read_text() == "saved"
    assert not (folder / "results" / "runs").exists()
    assert not (folder / "logs").exists()
