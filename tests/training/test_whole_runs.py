"""MLflow and ClearML: runs that are written whole when their training has ended, read back by their own readers."""

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

import clearml_server
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.study.archive import Dataset
from headwater.study.grid import Run
from headwater.study.recipe import Recipe
from headwater.study.source import Source, Weights
from headwater.study.tracking import Tracking
from headwater.training.trackers import Tracked, csv
from headwater.training.trackers.clearml import SESSION
from headwater.training.trackers.mlflow import CONTENT, RUN, _database, _named, database
from headwater.training.tracking import Trackers
from training_made import ALONE

SECRET = "QUILLFEATHER"
"""What stands wherever a library could find the host, the user, the code, the command line and paths."""

SERVICES = ("mlflow", "clearml")


def run_of(seed: int) -> Run:
    weights = Weights(layout="timm", path=f"/{SECRET}/w.pt")
    recipe = Recipe(name="finetune", training={"steps": 40, "batch": 8})
    source = Source(name="dino", backbone="timm/x", weights=weights, mean=(0.5,))
    return Run(dataset=Dataset(name="chest", archive="chest"), source=source, recipe=recipe, seed=seed)


def tracker(folder: Path, *, service: str, seed: int = 3) -> Trackers:
    tracking = Tracking(**{service: "offline"}, study="results/mine")
    names = {"group": "chest/dino", "name": f"chest/dino/finetune/seed{seed}", "job": "finetune"}
    return Trackers(folder, record=run_of(seed), **names, tracking=tracking, world=ALONE)


def added(folder: Path, *, service: str, summary: dict[str, float]) -> None:
    plugin = registry.load("trackers", service)
    names = {"group": "chest/dino", "name": "chest/dino/finetune/seed3", "job": "finetune", "machine": "cpu"}
    tracking = Tracking(**{service: "offline"}, study="results/mine")
    plugin.add(
        folder, training=Tracked(record=run_of(3), **names), tracking=tracking, steps=40, summary=summary
    )  # fmt: skip


def trained(folder: Path, *, service: str, seed: int = 3) -> None:
    """A training of 40 steps with a validation at step 25."""
    with tracker(folder, service=service, seed=seed) as one:
        one.rewind(0)
        for step in range(1, 41):
            one.log(step, {"training/loss": 1 / (step + seed), "training/lr": 1e-30})
            if step == 25:
                one.log(step, {"validation/auroc/Nodule": 1 / 7})
        one.measured(20, {"machine/memory_gib": 2.5})
        one.summary({"kept/step": 25})


def in_tables(folder: Path) -> list[tuple[int, str, float]]:
    """Every tenth step of metrics.csv, its validations, and machine.csv."""
    tables = [csv.read(folder, up_to=40), csv.read(folder, up_to=40, table=csv.MACHINE)]
    rows = [(step, name, value) for table in tables for step, values in table for name, value in values.items()]
    return sorted(row for row in rows if row[0] % 10 == 0 or not row[1].startswith("training/"))


def client():
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{database('results/mine').absolute()}")


def runs_of_mlflow() -> list:
    experiments = [experiment.experiment_id for experiment in client().search_experiments()]
    return client().search_runs(experiments)


def in_mlflow(folder: Path) -> SimpleNamespace:
    """The one run, by MLflow's reader."""
    (run,) = runs_of_mlflow()
    assert run.info.status == "FINISHED"
    history = [point for name in run.data.metrics for point in client().get_metric_history(run.info.run_id, name)]
    single = ("kept/", "test/", "source/")
    return SimpleNamespace(
        curves=sorted((point.step, point.key, point.value) for point in history if not point.key.startswith(single)),
        summary=sorted((point.key, point.value) for point in history if point.key.startswith(single)),
        settings=run.data.params,
        tags=run.data.tags,
        name=run.info.run_name,
    )


def in_clearml(folder: Path) -> SimpleNamespace:
    """The session as it lies there."""
    with zipfile.ZipFile(folder / SESSION) as file:
        assert file.namelist() == ["task.json", "metrics.jsonl"]
        task = json.loads(file.read("task.json"))
        events = [event for line in file.read("metrics.jsonl").splitlines() for event in json.loads(line)]
    return as_shown(task, events)


def imported(folder: Path) -> SimpleNamespace:
    """The same by a server into which ClearML has imported it."""
    with clearml_server.running() as server:
        environment = {**os.environ, **server.settings(folder)}
        program = "import sys; from clearml import Task; Task.import_offline_session(sys.argv[1])"
        words = [sys.executable, "-c", program, str(folder / SESSION)]
        subprocess.run(words, env=environment, check=True, timeout=120, stdout=subprocess.DEVNULL)
    assert server.task["status"] == "completed"
    return as_shown(server.task, server.events)


def as_shown(task: dict, events: list[dict]) -> SimpleNamespace:
    """A task of ClearML's with its events."""
    values = {
        section: {name: one["value"] for name, one in found.items()} for section, found in task["hyperparams"].items()
    }
    single = [event for event in events if event["metric"] == "Summary"]
    curves = [event for event in events if event["metric"] != "Summary"]
    assert task["comment"] == "" and task["tags"] == ["3", "chest", "dino", "finetune", "mine"]
    return SimpleNamespace(
        curves=sorted((event["iter"], event["variant"], event["value"]) for event in curves),
        summary=sorted((event["variant"], event["value"]) for event in single),
        settings=values["settings"],
        tags=values["headwater"],
        name=task["name"],
    )


READERS = {"mlflow": in_mlflow, "clearml": in_clearml}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty folder of a host and a user whose names could be sent."""
    home = tmp_path / SECRET
    home.mkdir()
    monkeypatch.chdir(home)
    for name in ("HOME", "LOGNAME", "USER"):
        monkeypatch.setenv(name, str(home) if name == "HOME" else SECRET)
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "CLEARML_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(socket, "gethostname", lambda: SECRET)
    monkeypatch.setattr(platform, "node", lambda: SECRET)
    monkeypatch.setattr(sys, "argv", [f"{SECRET}.py", "--note", SECRET])
    return home


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory) -> Path | None:
    """A database as the first job makes it, which takes seconds."""
    if find_spec("mlflow") is None:
        return None
    place = tmp_path_factory.mktemp("empty")
    with _database(Tracking(mlflow="offline", study=str(place))):
        return database(str(place))


@pytest.fixture
def begun(place, empty_database):
    """The folder of a study whose first job has made the database."""
    if empty_database is not None:
        database("results/mine").parent.mkdir(parents=True)
        shutil.copy(empty_database, database("results/mine"))
    return place


def needed(service: str) -> None:
    """What is written for ClearML needs no package."""
    if service == "mlflow":
        for package in ("mlflow", "alembic"):
            pytest.importorskip(package, reason="mlflow-skinny is in the extra mlflow")


@pytest.mark.parametrize("service", SERVICES)
def test_its_own_reader_finds_what_the_tables_have(begun, service):
    needed(service)
    folder = begun / "run"
    trained(folder, service=service)
    found = READERS[service](folder)
    assert found.curves == in_tables(folder) and len(found.curves) == 10
    assert found.summary == [("kept/step", 25.0)]
    shown = {"study": "mine", "dataset": "chest", "source": "dino", "recipe": "finetune", "seed": "3"}
    assert shown.items() <= found.tags.items()
    settings = {"recipe.training.batch": "8", "source.weights.path": "w.pt", "source.mean": "[0.5]", "seed": "3"}
    assert settings.items() <= found.settings.items()
    assert found.name == "chest/dino/finetune/seed3"


@pytest.mark.parametrize("service", SERVICES)
def test_test_values_take_the_place_of_those_before(begun, service):
    needed(service)
    folder = begun / "run"
    trained(folder, service=service)
    curves = in_tables(folder)
    for value in (0.7, 0.8, 0.8):
        added(folder, service=service, summary={"test/auroc/macro": value})
    found = READERS[service](folder)
    assert found.summary == [("test/auroc/macro", 0.8)] and found.curves == curves


def test_mlflow_keeps_a_run_that_has_not_changed_and_replaces_one_that_was_cut_off(begun):
    needed("mlflow")
    folder = begun / "run"
    trained(folder, service="mlflow")
    for _ in range(2):
        added(folder, service="mlflow", summary={"test/auroc/macro": 0.8})
    (run,) = runs_of_mlflow()
    added(folder, service="mlflow", summary={"test/auroc/macro": 0.8})
    (again,) = runs_of_mlflow()
    assert again.info.run_id == run.info.run_id
    # a job that was killed while it wrote leaves a run that is not complete
    torn = client().create_run(run.info.experiment_id, tags={RUN: run.data.tags[RUN]})
    added(folder, service="mlflow", summary={"test/auroc/macro": 0.8})
    (again,) = runs_of_mlflow()
    assert again.info.run_id not in (torn.info.run_id, run.info.run_id) and CONTENT in again.data.tags


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_of_the_machine_and_its_user_is_written(place, service):
    needed(service)
    trained(place / "run", service=service)
    if service == "clearml":
        with zipfile.ZipFile(place / "run" / SESSION) as file:
            content = {name: file.read(name) for name in file.namelist()}
        assert set(content) == {"task.json", "metrics.jsonl"} and json.loads(content["task.json"])["script"] == {}
        everything = b"".join(content.values())
    else:
        everything = database("results/mine").read_bytes()
    assert b"timm/x" in everything and SECRET.encode() not in everything
    files = {file.relative_to(place).parts[0] for file in place.rglob("*")}
    assert files <= {"run", "results"}, files


ATTEMPT = """
import os, signal, sys
from pathlib import Path
from test_whole_runs import tracker
folder, service, first, last, saved = sys.argv[1:]
with tracker(Path(folder), service=service) as one:
    one.rewind(int(saved))
    for step in range(int(first), int(last) + 1):
        one.log(step, {"training/loss": 1 / step})
        one.flush()
    if last == "35":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def in_a_process(program: str, *words: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen([sys.executable, "-c", program, *words], env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
def test_a_training_that_was_killed_and_resumed_has_each_step_once(place, service):
    needed(service)
    folder = place / "run"
    # killed after its last checkpoint: steps 31 to 35 come again
    assert in_a_process(ATTEMPT, str(folder), service, "1", "35", "0").wait() == -signal.SIGKILL
    assert not (folder / SESSION).exists() and not (service == "mlflow" and runs_of_mlflow())
    assert in_a_process(ATTEMPT, str(folder), service, "31", "40", "30").wait() == 0
    assert READERS[service](folder).curves == [(step, "training/loss", 1 / step) for step in (10, 20, 30, 40)]


@pytest.mark.slow
def test_jobs_of_a_grid_that_end_at_once_are_all_in_one_database(place):
    needed("mlflow")
    program = "import sys; from pathlib import Path; from test_whole_runs import trained\n"
    program += "trained(Path(sys.argv[1]), service='mlflow', seed=int(sys.argv[1]))\n"
    # MLflow has it off in tests anyway, but not here
    program += "from mlflow.telemetry.client import get_telemetry_client as told; assert told() is None"
    jobs = [in_a_process(program, str(seed)) for seed in range(4)]
    assert [job.wait() for job in jobs] == [0] * 4
    assert sorted(run.data.params["seed"] for run in runs_of_mlflow()) == ["0", "1", "2", "3"]


@pytest.mark.slow
def test_clearml_imports_what_was_written_for_it(place):
    pytest.importorskip("clearml", reason="clearml is an extra")
    trained(place / "run", service="clearml")
    assert imported(place / "run") == in_clearml(place / "run")


@pytest.mark.parametrize("service", SERVICES)
def test_a_training_that_is_stopped_or_fails_writes_no_run(begun, service):
    needed(service)
    for leave in (SystemExit(143), ValueError()):
        with pytest.raises(type(leave)), tracker(begun / "run", service=service) as one:
            one.log(10, {"training/loss": 1.0})
            raise leave
    assert not (begun / "run" / SESSION).exists() and not (service == "mlflow" and runs_of_mlflow())


def test_a_server_of_ones_own_gets_the_runs_and_is_refused_before_the_training_if_it_is_silent(
    place, empty_database, monkeypatch
):
    needed("mlflow")
    names = {"record": run_of(3), "group": "", "name": "r", "job": "finetune", "world": ALONE}
    online = Trackers(place / "run", **names, tracking=Tracking(mlflow="online", study="results/mine"))
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI is not set; export"):
        online.__enter__()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"MLflow does not take the run: .*; check MLFLOW_TRACKING_URI"):
        online.__enter__()
    # whatever address MLflow knows
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty_database, place / 'theirs.db')}")
    with online:
        online.log(10, {"training/loss": 0.5})
    from mlflow import MlflowClient

    (run,) = MlflowClient().search_runs([MlflowClient().get_experiment_by_name("headwater").experiment_id])
    assert run.data.metrics == {"training/loss": 0.5} and not database("results/mine").exists()


def test_names_that_mlflow_refuses_are_replaced_and_told_apart():
    fit, unfit = "Ödem: 1.5 µm_a-b", "test/auroc/Mass (left)"
    named = _named([fit, unfit, "test/auroc/Mass [left]", "test/auroc/../x", "a" * 300])
    assert named[fit] == fit and named[unfit] == "test/auroc/Mass -left-"
    assert len(set(named.values())) == 5 and max(map(len, named.values())) == 250
    validation = pytest.importorskip("mlflow.utils.validation", reason="mlflow-skinny is in the extra mlflow")
    for name in named.values():
        validation._validate_metric_name(name)
