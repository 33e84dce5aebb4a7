"""The benchmarks in a reduced form: that they run, and that what they claim is not far off in few repetitions."""

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
DOCS = BENCHMARKS.parent / "docs"


@contextmanager
def loaded(name):
    specification = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules[name]


@pytest.fixture(scope="module")
def validity():
    with loaded("validity") as module:
        yield module


def rarely_beyond(share: float, sets: int) -> tuple[float, float]:
    """Between which shares a true `share` is found in all but one of ten thousand repetitions."""
    low, high = stats.binom.interval(0.9999, sets, share)
    return low / sets, high / sets


@pytest.mark.soak
@pytest.mark.parametrize(("images", "pairing"), [(1, "paired"), (4, "nested")])
def test_seeds_as_readers_keep_the_level_where_the_published_rule_does_not(validity, images, pairing):
    sets = 400
    row = validity.Row(images=images, spread=0.1, seeds=5, pairing=pairing)
    found = validity.claims(row, sets=sets, seed=7)
    low, high = rarely_beyond(0.05, sets)
    assert low <= found["seeds as readers"] <= high
    assert found["published rule"] > high + 0.05
    for coverage in ("coverage of the difference", "coverage of the value"):
        assert 1 - high <= found[coverage] <= 1 - low


@pytest.mark.soak
def test_corrections_keep_the_family_where_none_does_not(validity):
    grids = 60
    found = validity.family_errors(grids=grids, seed=3)
    _, high = rarely_beyond(0.05, grids)
    assert found["Holm"] <= high and found["max-T"] <= high
    assert found["no correction"] >= found["Holm"]


def test_simulated_patients_have_images_that_hang_together(validity):
    target, patient = validity.test_set(np.random.default_rng(0), patients=4000, images=4)
    assert np.bincount(patient).mean() == pytest.approx(4, rel=0.06)
    assert target.mean() == pytest.approx(validity.PREVALENCE, abs=0.02)
    first = np.unique(patient, return_index=True)[1]
    again = first[np.bincount(patient) > 1] + 1
    assert np.corrcoef(target[again - 1], target[again])[0, 1] > 0.2


def test_the_table_in_the_docs_is_that_of_the_rows(validity):
    table = pd.read_csv(DOCS / "validity.csv")
    assert len(table) == len(validity.ROWS) + len(validity.SEEDS_DECIDE)
    text = (DOCS / "validity.md").read_text()
    for share in table["seeds as readers"]:
        assert f"{100 * share:.1f}" in text


@pytest.mark.soak
def test_the_stopwatch_runs():
    call = [sys.executable, str(BENCHMARKS / "statistics.py"), "--rounds", "1", "--ways", "ours"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert done.stdout.count("x the bound") == 2 and "MB above inputs" in done.stdout


@pytest.mark.soak
def test_the_stopwatch_of_reductions_runs_and_all_ways_keep_the_same():
    ways = ["ours", "numpy", "published loop", "published loop by volume"]
    call = [sys.executable, str(BENCHMARKS / "reduction.py"), "--rounds", "1", "--sizes", "2000", "--ways", *ways]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    # ours and ours by volume are always among them; three kinds of hashes
    assert done.stdout.count("| yes ") == 3 * 5 and "| NO " not in done.stdout


def test_the_stopwatches_of_views_and_windows_of_volumes_run(monkeypatch):
    # the benchmark takes away the folder of its own script, which pytest's is not
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with loaded("volumes") as volumes:
        monkeypatch.setattr(volumes, "SIDE", 32)
        monkeypatch.setattr(volumes, "PART", (32, 48, 32))
        for part in ("views", "windows"):
            (row,) = volumes.PARTS[part](argparse.Namespace(repeats=3))
            assert row["peer / ours"]


@pytest.mark.parametrize("part", ["png-512", "png-1024", "dicom", "dicom-window", "jpeg-2000"])
def test_the_stopwatch_of_prepare_runs_and_both_ways_give_the_same_images(monkeypatch, part):
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with loaded("prepare") as prepare:
        monkeypatch.setitem(prepare.PARTS, part, prepare.PARTS[part]._replace(side=64, many=1))
        row = prepare.in_a_worker(prepare.row, part, rounds=1, images=2, size=32)
        assert row["peer / ours"] and row["shades apart"] == "0 at most"


@pytest.mark.slow
@pytest.mark.parametrize("part", ["finetune", "moco", "mae"])
def test_the_stopwatch_of_training_steps_runs(monkeypatch, part):
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with loaded("training") as training:
        asked = argparse.Namespace(batch=4, rounds=2, steps=3, threads=1)
        make, name = training.PARTS[part][0]
        here, there, peer = make(asked, name)
        assert all(len(way(3)) == 2 and min(way(3)) > 0 for way in (here, there))
        assert training.row(part, here, there, peer=peer, asked=asked)["peer / ours"]


@pytest.mark.slow
def test_the_stopwatch_of_simclr_runs():
    call = [sys.executable, str(BENCHMARKS / "peers.py"), "--rounds", "1", "--steps", "30", "--batch", "2", "--peers"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    row = [cell.strip() for cell in done.stdout.splitlines()[-1].split("|")]
    assert row[1].startswith("headwater ") and 0 < float(row[2]) < 10 and row[3] == "1.000 [1.000, 1.000]"
    # two views besides a pair, of which cosines differ by 2, by a temperature of 0.5
    assert 0 < float(row[4]) < np.log1p(2 * np.exp(2 / 0.5))


def test_absent_packages_are_named_before_anything_is_timed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(sys, "argv", ["peers.py"])
    with loaded("peers") as peers:
        monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(SystemExit, match="2"):
            peers.main()
    said = capsys.readouterr().err.splitlines()[-1]
    assert "lightly-train and stable-pretraining not installed: pip install lightly-train stable-pretraining" in said


@pytest.mark.slow
@pytest.mark.parametrize("way", ["one by one", "shuffled", "sharded"])
def test_the_stopwatch_of_cold_reading_runs(monkeypatch, tmp_path, way):
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with loaded("reading") as reading:
        cases = reading.written(tmp_path / "images.npy", count=200)
        row = reading.measured(tmp_path / "images.npy", cases, way=way, seed=0, steps=6, batch=16)
        assert row["first step (s)"] > 0 and row["images/s"] > 0


def test_what_goes_wrong_on_a_gpu_that_is_lent_is_told_in_a_row(monkeypatch):
    monkeypatch.setattr(sys, "path", ["", *sys.path])

    def slow(bench):
        yield {"what": "first"}
        time.sleep(5)

    def broken(bench):
        yield {"what": "first"}
        raise ValueError("no such thing")

    with loaded("on_gpu") as on_gpu:
        for part, words in ((slow, "Overtime: its 0 seconds are over"), (broken, "ValueError: no such thing")):
            rows = on_gpu.told("x", part, None, seconds=0.2)
            assert rows == [{"part": "x", "what": "first"}, {"part": "x", "failed": words}]


@pytest.mark.slow
def test_the_script_for_a_gpu_runs_on_a_cpu(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with loaded("on_gpu") as on_gpu:
        out = tmp_path / "on_gpu.json"
        # a compiler would take most of the time
        monkeypatch.setattr(on_gpu.compiled, "_how", lambda: {"disable": True})
        rows = on_gpu.main(["--tiny", "--threads", "1", "--out", str(out)])
        assert {row["part"] for row in rows} == set(on_gpu.PARTS) and not [row for row in rows if "failed" in row]
        assert json.loads(out.read_text())["rows"] == json.loads(json.dumps(rows))
        resumed = [row for row in rows if row["part"] == "resume"]
        assert len(resumed) == 4 and all(row["same losses"] and row["same weights"] for row in resumed)
        assert all(row["apart"] < 0.05 for row in rows if row["part"] == "curves")
