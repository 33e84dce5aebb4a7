"""Curves as a table, in TensorBoard and in W&B, with nothing written where it does not belong."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.study import run_ids
from headwater.study.archive import Dataset
from headwater.study.grid import Run
from headwater.study.recipe import Recipe
from headwater.study.source import Source, Weights
from headwater.study.tracking import Tracking
from headwater.training.ddp import World
from headwater.training.trackers import Tracked, Tracker, tensorboard
from headwater.training.tracking import Trackers
from headwater.training.wandb_session import keep_below
from training_made import ALONE

RECORD = Source(name="s", backbone="timm/x", weights=Weights(layout="timm", path="/secret/place/w.pt"), mean=(0.5,))


def tracker(folder, *, wandb="disabled", world=ALONE):
    tracking = Tracking(wandb=wandb, project="p")
    return Trackers(folder, record=RECORD, group="d/s", name="d/s/r", job="finetune", tracking=tracking, world=world)


def rows(folder):
    return (folder / "metrics.csv").read_text().splitlines()


def board(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_each_value_is_a_row_that_reads_back_exactly(tmp_path):
    with tracker(tmp_path) as one:
        one.log(1, {"training/loss": 1 / 3, "training/lr": 1e-30})
        one.log(2, {"validation/auroc": float("nan")})
    assert rows(tmp_path) == [
        "step,name,value",
        "1,training/loss,0.3333333333333333",
        "1,training/lr,1e-30",
        "2,validation/auroc,nan",
    ]


def test_rewind_drops_later_rows_and_torn_ones(tmp_path):
    with tracker(tmp_path) as one:
        for step in range(1, 31):
            one.log(step, {"training/loss": step})
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("31,training/lo")
    with tracker(tmp_path) as one:
        one.rewind(19)
        one.log(20, {"training/loss": 0.5})
    assert rows(tmp_path)[-2:] == ["19,training/loss,19.0", "20,training/loss,0.5"]
    assert len(rows(tmp_path)) == 21
    assert board(tmp_path, "training/loss") == [(10, 10.0), (20, 0.5)]


def test_a_training_from_the_first_step_begins_an_empty_table(tmp_path):
    with tracker(tmp_path) as one:
        one.log(10, {"training/loss": 1.0})
    with tracker(tmp_path) as one:
        one.rewind(0)
    assert rows(tmp_path) == ["step,name,value"]


def test_tensorboard_gets_every_tenth_step_and_every_validation(tmp_path):
    with tracker(tmp_path) as one:
        for step in range(1, 26):
            one.log(step, {"training/loss": step})
        one.log(25, {"validation/auroc": 0.75})
    assert board(tmp_path, "training/loss") == [(10, 10.0), (20, 20.0)]
    assert board(tmp_path, "validation/auroc") == [(25, 0.75)]


def test_tensorboard_has_charts_for_all_that_a_training_measures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
    from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG

    measured = ("training/loss", "training/lr", "validation/loss", "validation/auroc", "probe/auroc")
    measured += tuple(f"features/{name}" for name in ("spread", "rank", "lidar", "alignment", "uniformity"))
    machine = ("machine/images_per_second", "machine/waiting", "machine/memory_gib", "machine/gpu_memory_gib")
    with tracker(tmp_path) as one:
        one.log(10, dict.fromkeys(measured, 1.0))
        one.measured(10, dict.fromkeys(machine, 1.0))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    [event] = events.Tensors(CONFIG_SUMMARY_TAG)
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    curves = [
        re.compile(tag) for category in layout.category for chart in category.chart for tag in chart.multiline.tag
    ]
    # TensorBoard matches from the beginning
    assert all(any(curve.match(name) for curve in curves) for name in events.Tags()["scalars"])
    assert all(any(curve.match(name) for name in events.Tags()["scalars"]) for curve in curves)


def test_test_values_are_in_tensorboard_once_with_the_settings_of_the_run(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    run = Run(
        dataset=Dataset(name="chest", archive="chest"),
        source=RECORD,
        recipe=Recipe(name="finetune", training={"steps": 20, "batch": 8}),
        seed=3,
    )
    with tracker(tmp_path) as one:
        one.log(20, {"training/loss": 0.5})
    given = {"training": Tracked(record=run, group="", name="", job=""), "tracking": Tracking(), "steps": 20}
    for value in (0.7, 0.8):
        tensorboard.add(tmp_path, **given, summary={"test/auroc/macro": value})
    assert board(tmp_path, "test/auroc/macro") == [(20, pytest.approx(0.8))]
    assert board(tmp_path, "training/loss") == [(20, 0.5)]
    content = EventAccumulator(str(tmp_path / "tensorboard")).Reload().PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    shown = {name: value.string_value or value.number_value for name, value in start.hparams.items()}
    names = {"dataset": "chest", "source": "s", "recipe": "finetune", "seed": 3}
    assert shown == names | {"lr": run.recipe.training.lr, "batch": 8, "steps": 20}
    assert metadata.SESSION_END_INFO_TAG in content


def test_speed_and_memory_have_a_table_of_their_own(tmp_path):
    with tracker(tmp_path) as one:
        one.log(10, {"training/loss": 1.0})
        one.measured(10, {"machine/images_per_second": 80.0})
        one.measured(20, {"machine/images_per_second": 90.0})
    with tracker(tmp_path) as one:
        one.rewind(10)
    assert rows(tmp_path) == ["step,name,value", "10,training/loss,1.0"]
    machine = (tmp_path / "machine.csv").read_text().splitlines()
    assert machine == ["step,name,value", "10,machine/images_per_second,80.0"]
    assert board(tmp_path, "machine/images_per_second") == [(10, 80.0)]


def test_what_is_flushed_outlives_a_killed_process(tmp_path):
    one = tracker(tmp_path).__enter__()
    one.log(1, {"training/loss": 2})
    one.flush()
    assert rows(tmp_path)[-1] == "1,training/loss,2.0"
    one.close(0)


class Recorder(Tracker):
    """A tracker that remembers what it is asked."""

    def __init__(self, calls):
        self.calls = calls

    def log(self, step, values):
        self.calls.append((step, values))

    def close(self, exit_code):
        self.calls.append(exit_code)


def test_a_further_tracker_is_a_file_that_the_config_names(tmp_path, monkeypatch):
    calls = []
    plugin = SimpleNamespace(open=lambda folder, *, training, tracking: Recorder(calls))
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda family, name: plugin if name == "recorder" else load(family, name))
    tracking = Tracking(also=("recorder",))
    names = {"record": RECORD, "group": "d/s", "name": "d/s/r", "job": "finetune"}
    with Trackers(tmp_path, **names, tracking=tracking, world=ALONE) as one:
        for step in (9, 10):
            one.log(step, {"training/loss": step})
        one.rewind(9)
    assert calls == [(10, {"training/loss": 10.0}), 0]
    assert len(rows(tmp_path)) == 2
    plugin.EVERY_STEP = True
    with Trackers(tmp_path, **names, tracking=tracking, world=ALONE) as one:
        one.log(11, {"training/loss": 0.5})
    assert calls[-2:] == [(11, {"training/loss": 0.5}), 0]


def test_where_one_tracker_refuses_the_others_are_closed(tmp_path, monkeypatch):
    calls = []

    def refuse(folder, *, training, tracking):
        raise UserError("no dashboard today")

    plugins = {"recorder": lambda *_, **__: Recorder(calls), "refusing": refuse}
    load = registry.load
    monkeypatch.setattr(
        registry,
        "load",
        lambda family, name: SimpleNamespace(open=plugins[name]) if name in plugins else load(family, name),
    )
    names = {"record": RECORD, "group": "d/s", "name": "d/s/r", "job": "finetune"}
    with pytest.raises(UserError, match="no dashboard today"):
        Trackers(tmp_path, **names, tracking=Tracking(also=("recorder", "refusing")), world=ALONE).__enter__()
    assert calls == [1]


def test_only_the_first_rank_writes(tmp_path):
    with tracker(tmp_path, world=World(rank=1, size=2, device=ALONE.device), wandb="offline") as one:
        one.rewind(0)
        one.log(10, {"training/loss": 1.0})
        one.flush()
        one.summary({"x": 1.0})
    assert not list(tmp_path.iterdir())


def test_switched_off_wandb_is_never_imported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with tracker(tmp_path) as one:
        one.log(10, {"training/loss": 1.0})
        one.summary({"x": 1.0})
    with pytest.raises(UserError, match=r"needs the package wandb; pip install -e '\.\[wandb\]'"):
        tracker(tmp_path, wandb="offline").__enter__()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home, from an empty folder in which a test starts."""
    home = tmp_path / "home"
    (home / "here").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "here")
    for name in [name for name in os.environ if name.startswith(("WANDB_", "XDG_"))]:
        monkeypatch.delenv(name)
    return home


def test_an_offline_run_of_wandb_tells_the_curves_and_nothing_of_the_machine(tmp_path, home):
    pytest.importorskip("wandb", reason="wandb is an extra")
    folder = tmp_path / "run"
    with pytest.raises(SystemExit), tracker(folder, wandb="offline") as one:
        one.log(10, {"training/loss": 0.5})
        one.measured(10, {"machine/memory_gib": 2.0})
        one.log(13, {"training/loss": 0.25})
        one.log(13, {"validation/auroc": 0.75})
        one.summary({"kept": 13})
        raise SystemExit(143)
    file = of_wandb(folder)
    entries = inspected(file)
    (run,) = [entry["run"] for entry in entries if entry["type"] == "run"]
    assert run["run_id"] == run_ids.of_training(RECORD, tracking=Tracking(wandb="offline", project="p"))
    assert run["run_group"] == "d/s" and run["job_type"] == "finetune"
    assert run["display_name"] == "d/s/r" and run["project"] == "p" and not run.get("resume")
    settings = run["config"]["update"]["settings"]
    assert settings["backbone"] == "timm/x" and settings["weights"]["path"] == "w.pt"
    history = [entry["history"]["item"] for entry in entries if entry["type"] == "history"]
    assert [(item["_step"], item.get("training/loss"), item.get("validation/auroc")) for item in history] == [
        (10, 0.5, None),
        (13, None, 0.75),
    ]
    assert [entry["exit"]["exit_code"] for entry in entries if entry["type"] == "exit"] == [143]
    assert any("preempting" in str(entry) for entry in entries)
    for secret in (socket.gethostname(), str(tmp_path), "/secret", Path(sys.argv[0]).name):
        assert secret.encode() not in file.read_bytes(), secret
    assert [found.name for found in home.rglob("*")] == ["here"]
    assert not [name for name in os.environ if name.startswith("WANDB_") and name.endswith("_DIR")]


def test_each_run_of_a_process_writes_to_its_own_folder(tmp_path, home):
    pytest.importorskip("wandb", reason="wandb is an extra")
    for name in ("one", "other"):
        with tracker(tmp_path / name, wandb="offline") as one:
            one.log(10, {"training/loss": 0.5})
        assert of_wandb(tmp_path / name)


PATIENCE = 60.0
"""Seconds in which a file of W&B must have its end."""

ATTEMPT = """
import sys
from pathlib import Path
from test_tracking import tracker
first, last, saved = map(int, sys.argv[2:])
with tracker(Path(sys.argv[1]), wandb="offline") as one:
    one.rewind(saved)
    for step in range(first, last + 1):
        one.log(step, {"training/loss": 1 / step})
        if step == 25:
            one.log(step, {"validation/auroc": 0.75})
        if step == 20:
            one.measured(step, {"machine/memory_gib": 2.0})
    raise SystemExit(143)
"""


def attempted(folder, *, first, last, saved):
    """One attempt at a training, in a process of its own, which resumes after the step `saved`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    words = [sys.executable, "-c", ATTEMPT, str(folder), str(first), str(last), str(saved)]
    assert subprocess.run(words, env=environment, check=False).returncode == 143
    return of_wandb(folder)


def of_wandb(folder):
    """The file of a run, once it is there: W&B's writer is another process."""
    until = time.monotonic() + PATIENCE
    while not (found := list(folder.rglob("run-*.wandb"))):
        assert time.monotonic() < until, "W&B has written no file"
        time.sleep(0.1)
    return found[0]


def test_an_offline_run_that_is_resumed_is_one_whole_run(tmp_path, home):
    pytest.importorskip("wandb", reason="wandb is an extra")
    folder = tmp_path / "run"
    former = attempted(folder, first=1, last=35, saved=0)
    other = former.parent.with_name("offline-run-20200101_000000-other")
    other.mkdir()
    # killed after its last checkpoint: steps 31 to 35 come again
    file = attempted(folder, first=31, last=40, saved=30)
    assert list(folder.rglob("run-*.wandb")) == [file] != [former] and other.exists()
    history = [entry["history"]["item"] for entry in inspected(file) if entry["type"] == "history"]
    assert [(item["_step"], item.get("training/loss"), item.get("validation/auroc")) for item in history] == [
        (10, 0.1, None),
        (20, 0.05, None),
        (25, None, 0.75),
        (30, 1 / 30, None),
        (40, 0.025, None),
    ]
    assert [item["_step"] for item in history if item.get("machine/memory_gib") == 2.0] == [20]


def inspected(file):
    """What W&B's own reader finds in the file of a run, once the file has its end."""
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(file)]
    until = time.monotonic() + PATIENCE
    while True:
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        entries = [json.loads(line) for line in shown.splitlines()]
        if any(entry["type"] == "exit" for entry in entries):
            return entries
        assert time.monotonic() < until, f"{file} has no end, but {len(entries)} entries"
        time.sleep(1)


def test_folders_that_the_user_chose_for_wandb_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_CACHE_DIR", "mine")
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    unset = keep_below(tmp_path, tracking=Tracking(wandb="online"))
    assert os.environ["WANDB_CACHE_DIR"] == "mine"
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "wandb" / "data")
    # where the login to a server of one's own is written down
    assert "WANDB_CONFIG_DIR" not in os.environ
    for name in unset:
        monkeypatch.delenv(name)
