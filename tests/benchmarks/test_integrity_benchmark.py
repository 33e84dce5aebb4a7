"""The benchmark of the checks counts what they take in every process, and nothing where nothing is checked."""

import importlib.util
import sys
from pathlib import Path

import pytest

import prepared_made

ROOT = Path(__file__).parents[2]
READ = """
import sys
sys.path.insert(0, {scripts!r})
from pathlib import Path
from headwater.data import store
data = store.read(Path({cases!r}), images=Path({images!r}))
data.images[:]
"""


@pytest.fixture(scope="module")
def benchmark():
    specification = importlib.util.spec_from_file_location("integrity_benchmark", ROOT / "benchmarks" / "integrity.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.soak
def test_checks_of_all_processes_are_counted(benchmark, tmp_path):
    made = prepared_made.archive(tmp_path, cases=300)
    read = READ.format(scripts=str(ROOT / "scripts"), cases=str(made.cases), images=str(made.images))
    once, whole = benchmark.measured([sys.executable, "-c", read])
    assert 0 < once < whole
    left = benchmark.measured([sys.executable, "-c", f"{read}\nimport os\nos._exit(0)"])
    assert 0 < left[0] < left[1]
    several = f"import subprocess, sys\nfor _ in range(3): subprocess.run([sys.executable, '-c', {read!r}], check=True)"
    assert benchmark.measured([sys.executable, "-c", several])[0] > once
    assert benchmark.measured([sys.executable, "-c", "pass"])[0] == 0
