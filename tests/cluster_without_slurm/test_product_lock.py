"""One job at a time writes a product: of two the second waits, or ends what a dead Snakemake has left behind."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headwater.cluster import product_lock, rule_door
from headwater.core import files

WRITER = """
import sys, time
from pathlib import Path
from headwater.cluster import product_lock
product, seconds, number = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
with product_lock.held([product], settings={"number": number}, verb="prepare"):
    with product.with_name("begun").open("a") as begun:
        begun.write(number + "\\n")
    time.sleep(seconds)
    product.write_text(number)
"""

SNAKEMAKE = """
import subprocess, sys, time
subprocess.Popen(["bash", "-c", sys.argv[1] + "; true"])
time.sleep(600)
"""
"""What of Snakemake matters here: a process of that name, which starts a job through a shell."""


@pytest.fixture
def product(tmp_path: Path) -> Path:
    (tmp_path / "writer.py").write_text(WRITER)
    (tmp_path / "snakemake").write_text(SNAKEMAKE)
    return tmp_path / "cases.parquet"


def command(product: Path, number: int, *, seconds: float) -> list[str]:
    return [sys.executable, str(product.with_name("writer.py")), str(product), str(seconds), str(number)]


def started(words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


def wait_for(reached, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def begun(product: Path) -> list[str]:
    file = product.with_name("begun")
    return file.read_text().split() if file.exists() else []


def under_snakemake(product: Path, *, seconds: float) -> subprocess.Popen:
    """A writer below a Snakemake, as soon as it writes."""
    line = shlex.join(command(product, 1, seconds=seconds))
    # without a pipe, which the writer would inherit and hold open
    snakemake = subprocess.Popen([sys.executable, str(product.with_name("snakemake")), line], stderr=subprocess.DEVNULL)
    wait_for(lambda: begun(product) == ["1"])
    return snakemake


def writer_of(product: Path) -> int:
    record = json.loads(product_lock._record_of(product).read_text())
    return int(record["writer"]["process"].partition("@")[0])


def test_the_second_waits_and_writes_last(product: Path):
    first = started(command(product, 1, seconds=4))
    wait_for(lambda: begun(product) == ["1"])
    assert product_lock.settings_of(product) is None
    second = started(command(product, 2, seconds=0))
    _, said = second.communicate(timeout=60)
    assert first.wait() == second.returncode == 0
    assert f"headwater prepare: waiting for the end of process {first.pid} on " in said
    assert said.count("\n") == 1
    assert product.read_text() == "2" and product_lock.settings_of(product) == {"number": "2"}


def test_what_a_dead_snakemake_left_behind_is_ended(product: Path):
    snakemake = under_snakemake(product, seconds=300)
    orphan = writer_of(product)
    snakemake.kill()
    snakemake.wait()
    second = started(command(product, 2, seconds=0))
    _, said = second.communicate(timeout=60)
    assert second.returncode == 0
    assert f"headwater prepare: ending process {orphan}, which a Snakemake that has died left behind" in said
    with pytest.raises(ProcessLookupError):
        os.kill(orphan, 0)
    assert product.read_text() == "2" and begun(product) == ["1", "2"]


def test_an_orphan_that_does_not_end_is_killed(product: Path, monkeypatch: pytest.MonkeyPatch):
    product.with_name("writer.py").write_text("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WRITER)
    snakemake = under_snakemake(product, seconds=300)
    snakemake.kill()
    snakemake.wait()
    monkeypatch.setattr(product_lock, "PATIENCE", 0.5)
    with product_lock.held([product], settings={}, verb="prepare"):
        assert product_lock._lock(product) is None
    assert product_lock.settings_of(product) == {}


def test_the_job_of_a_living_snakemake_is_waited_for(product: Path):
    snakemake = under_snakemake(product, seconds=4)
    second = started(command(product, 2, seconds=0))
    _, said = second.communicate(timeout=60)
    assert "waiting for the end of process" in said and "ending" not in said
    assert product.read_text() == "2"
    snakemake.kill()
    snakemake.wait()


def test_who_does_not_wait_goes_on_without_the_lock(product: Path):
    first = started(command(product, 1, seconds=300))
    wait_for(lambda: begun(product) == ["1"])
    with product_lock.held([product], settings={"number": "2"}, verb="pretrain", waits=False):
        pass
    assert product_lock.settings_of(product) is None
    first.kill()
    first.communicate()


def test_a_killed_job_leaves_no_lock_and_no_settings(product: Path):
    first = started(command(product, 1, seconds=300))
    wait_for(lambda: begun(product) == ["1"])
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert product_lock.settings_of(product) is None
    with product_lock.held([product], settings={"number": "2"}, verb="prepare"):
        pass
    assert product_lock.settings_of(product) == {"number": "2"}


def test_a_failed_job_leaves_no_settings(product: Path):
    with product_lock.held([product], settings={"number": "1"}, verb="prepare"):
        pass
    with pytest.raises(ZeroDivisionError), product_lock.held([product], settings={}, verb="prepare"):
        _ = 1 / 0
    assert product_lock.settings_of(product) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"settings": '])
def test_half_a_record_is_none(product: Path, content: str):
    product_lock._record_of(product).write_text(content)
    assert product_lock.settings_of(product) is None


def ledger(*, overlaps: str, cases: list[Path], ledger: Path, readable: Path) -> None:
    """A stage with this name."""
    files.write_text(overlaps, ledger)
    files.write_text(str(len(cases)), readable)


def test_temporaries_of_a_killed_job_are_removed_by_the_next(tmp_path: Path):
    left = [tmp_path / ".ledger.parquet.0a1b2c3d.parquet", tmp_path / ".ledger.csv.ffffffff.csv"]
    others = [tmp_path / ".ledger.parquet.other.parquet", tmp_path / ".else.parquet.0a1b2c3d.parquet"]
    for file in (*left, *others):
        file.write_text("half")
    words = ["--overlaps", "x", "--cases", "a", "b"]
    places = ["--ledger", str(tmp_path / "ledger.parquet"), "--readable", str(tmp_path / "ledger.csv")]
    rule_door.door(ledger, [*words, *places])
    assert not any(file.exists() for file in left) and all(file.exists() for file in others)
    # paths are no settings: a moved study stays as it is
    assert product_lock.settings_of(tmp_path / "ledger.parquet") == {"overlaps": "x"}


def test_only_the_first_process_of_a_training_takes_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "1")
    places = ["--ledger", str(tmp_path / "ledger.parquet"), "--readable", str(tmp_path / "ledger.csv")]
    rule_door.door(ledger, ["--overlaps", "x", "--cases", "a", *places])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ledger.csv", "ledger.parquet"]
