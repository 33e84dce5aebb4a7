"""The overhead benchmark: it adds up a job's parts rightly, and times nothing that failed."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def benchmark(name, monkeypatch):
    # the benchmark takes its own folder off the path
    monkeypatch.syspath_prepend(BENCHMARKS)
    specification = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def overhead(monkeypatch):
    return benchmark("overhead", monkeypatch)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("00:07.517", 7.517), ("01:02:03", 3723), ("2-00:00:01", 172_801), ("00:00:00", 0), ("10:00.250", 600.25)],
)
def test_the_seconds_of_slurm_are_read(monkeypatch, told, seconds):
    assert benchmark("overhead_on_slurm", monkeypatch).seconds(told) == pytest.approx(seconds)


def test_the_verdict_on_slurm_is_about_the_least_and_the_middle(monkeypatch):
    found = {"ours": [5.0, 4.0, 9.0], "empty": [3.0, 3.5, 3.25]}
    said = benchmark("overhead_on_slurm", monkeypatch).verdict(found)
    assert "beyond empty: +1.00 CPU-s, median +1.75 (at most 1)" in said


def test_the_verdict_counts_snakemake_twice_and_torch_not_at_all(overhead):
    said = overhead.verdict(
        {
            "Snakemake, empty Snakefile": 1.0,
            "Snakemake, ours": 1.2,
            "launcher": 0.1,
            "import torch": 2.0,
            "import torch, first optimiser step": 2.5,
            "finetune to its first step": 3.0,
        }
    )
    assert "empty Snakefile: 0.40 CPU-s" in said
    assert "beyond `import torch`: 1.10 CPU-s" in said
    assert "of which 0.50 are what torch imports of itself" in said
    assert "together: 1.50 CPU-s beyond `import torch`; 1.00 beyond all that torch imports (at most 1)" in said


def test_what_fails_is_not_timed(overhead, tmp_path):
    with pytest.raises(SystemExit, match="no such thing"):
        overhead.cpu_seconds([sys.executable, "-c", "raise SystemExit('no such thing')"], folder=tmp_path)
    spent = overhead.cpu_seconds(
        [sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], folder=tmp_path
    )
    assert 0.3 <= spent < 3


@pytest.mark.soak
def test_the_part_before_the_first_step_is_real(overhead, tmp_path):
    ways = overhead.laid_out(tmp_path)
    assert overhead.cpu_seconds(ways["finetune to its first step"], folder=tmp_path) > 0.5
    assert not (tmp_path / "fitted" / "model.safetensors").exists()
    assert overhead.cpu_seconds(ways["Snakemake, ours"], folder=tmp_path) > 0.2
